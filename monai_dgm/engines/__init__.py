"""Training, evaluation and inference, a folder for each subject, and what these share.

May import everything but labelling, handlers and reproduction.
"""
