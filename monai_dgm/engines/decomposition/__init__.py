"""Taking radiographs apart with trained weights: decomposition, what stands beside it, its files and its figures."""
