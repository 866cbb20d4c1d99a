"""Reads radiographs from DICOM, NIfTI, PNG and JPEG files: one array, bright = dense, and what the file says of it.

Of this package it imports `errors` alone; everything else may import it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
