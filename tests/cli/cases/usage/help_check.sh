firstbit check --help
