firstbit record --help
