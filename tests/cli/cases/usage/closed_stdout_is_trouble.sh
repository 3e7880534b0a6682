firstbit train --help >&-
