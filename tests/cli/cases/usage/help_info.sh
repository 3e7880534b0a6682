firstbit info --help
