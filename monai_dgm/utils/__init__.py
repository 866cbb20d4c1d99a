"""Small helpers with no knowledge of radiographs. Anything may import from here; this imports nothing of ours."""
