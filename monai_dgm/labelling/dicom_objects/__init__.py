"""DICOM objects that are written into a study or read back from it: reports (SR), segmentations, pictures, radiographs.

May import readers, transforms and `labelling.labels`. Needs the extra `dicom` (highdicom).
"""
