firstbit replay --help
