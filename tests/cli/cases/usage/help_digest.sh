firstbit digest --help
