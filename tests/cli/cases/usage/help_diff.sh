firstbit diff --help
