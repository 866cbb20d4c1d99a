from .dicom.read import read_dicom as read_dicom
from .radiograph import Radiograph as Radiograph
from .read import read_mask as read_mask
from .read import read_radiograph as read_radiograph
from .read import sniff_format as sniff_format

__all__ = [
    "Radiograph",
    "read_dicom",
    "read_mask",
    "read_radiograph",
    "sniff_format",
]
