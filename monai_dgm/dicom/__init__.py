"""DICOM in (and, later, DICOM out). Imports pydicom; nothing of ours but errors."""
