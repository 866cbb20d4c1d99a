"""Residues of a frozen decomposer for other networks: of a whole data set, or on the way to a network."""
