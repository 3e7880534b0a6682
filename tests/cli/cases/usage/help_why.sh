firstbit why --help
