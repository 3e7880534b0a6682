firstbit pack --help
