firstbit noise --help
