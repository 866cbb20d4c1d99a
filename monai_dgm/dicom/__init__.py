"""DICOM in and DICOM out. Imports pydicom; nothing of ours but errors. What is written needs highdicom, too."""
