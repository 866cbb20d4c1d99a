"""Lungs: the segmentor, its inference and figures, and the check whether this is a chest at all."""
