firstbit help train >one
firstbit train --help >two
cmp one two
