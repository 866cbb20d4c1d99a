"""DICOM objects that are written to a study or read from it: reports (SR), segmentations, pictures, radiographs.

May import readers, transforms and `labelling.labels`. Needs the extra `dicom` (highdicom).
"""
