firstbit help shwo
