firstbit recover --help
