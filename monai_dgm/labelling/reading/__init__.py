"""What a reader does: open a case, go to the next one.

May import the other folders of `labelling` except `training` and `archive`.
"""
