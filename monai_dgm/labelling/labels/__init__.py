"""Readers' labels: one label for one image and reader, its file formats, and the consensus of several readers.

May import data, metrics, readers and transforms; of `labelling` nothing.
"""
