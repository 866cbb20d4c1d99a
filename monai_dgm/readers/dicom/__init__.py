"""Reads radiographs from DICOM files: data set, pixel values, Modality LUT and VOI (PS3.3 C.11), orientation.

Needs pydicom. Of this package it imports `errors` and `monai_dgm.readers.radiograph` alone.
"""
