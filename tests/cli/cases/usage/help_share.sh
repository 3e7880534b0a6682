firstbit share --help
