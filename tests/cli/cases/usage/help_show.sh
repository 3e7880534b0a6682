firstbit show --help
