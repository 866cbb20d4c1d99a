"""Which image to label next: scores of images, strategies that choose by them, and the store of the scores.

May import metrics, transforms and `labelling.labels`.
"""
