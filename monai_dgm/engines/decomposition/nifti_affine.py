"""Where a NIfTI radiograph lies in the patient, so that maps of it land on it in a viewer."""

from __future__ import annotations

from monai_dgm.readers.nifti import nifti_affine

__all__ = ["nifti_affine"]
