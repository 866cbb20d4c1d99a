"""Lungs: loading and evaluation of the segmentor, and the check whether a radiograph shows a frontal chest.

May import weights of the engines.
"""
