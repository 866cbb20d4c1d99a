from tests.dicom_files import ramp, write_dicom

__all__ = ["ramp", "write_dicom"]
