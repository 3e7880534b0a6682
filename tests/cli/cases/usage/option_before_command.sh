firstbit --threads 3 train
