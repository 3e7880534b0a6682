firstbit export --help
