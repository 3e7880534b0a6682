firstbit --version
