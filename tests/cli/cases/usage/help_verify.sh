firstbit verify --help
