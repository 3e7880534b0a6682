firstbit train --help
