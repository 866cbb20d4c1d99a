"""Studies of a DICOMweb archive: find and cache them, send results to the archive, read readers' reports from it.

May import the other folders of `labelling` except `training`.
"""
