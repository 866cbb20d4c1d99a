"""Training of the detector on readers' corrections: data, process, promotion, versions.

May import the other folders of `labelling` except `archive`; a server starts it with `detector_training`.
"""
