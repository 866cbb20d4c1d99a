"""Evaluation of residue systems, and the files that show one decomposed radiograph.

May import residues, radiograph_result, overlay and weights of the engines.
"""
