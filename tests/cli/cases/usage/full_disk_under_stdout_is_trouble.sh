firstbit --help >/dev/full
