"""Active learning: scores of unlabelled images, strategies that choose the next image to label, and stored scores.

May import metrics, transforms and `labelling.labels`.
"""
