firstbit --help
