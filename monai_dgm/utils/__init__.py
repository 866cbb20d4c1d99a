"""Small helpers with no knowledge of radiographs. Anything may import from here; of ours, this imports errors alone."""
