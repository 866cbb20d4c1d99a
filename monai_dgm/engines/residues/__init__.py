"""Residues of frozen residue systems: loading, caching, decomposed radiographs, and models that take residues as input.

May import files and weights of the engines.
"""
