"""What of DICOMweb (PS3.18) a viewer may ask of an archive through the server: these addresses, and no others."""

from __future__ import annotations

import re

from monai_dgm.labelling.server.http_errors import UnknownError

__all__ = ["READ", "STORE", "checked_path", "own_addresses"]

_UID = r"[0-9]{1,64}(?:\.[0-9]{1,64}){0,31}"
_STUDY = f"studies/{_UID}"
_SERIES = f"{_STUDY}/series/{_UID}"
_INSTANCE = f"{_SERIES}/instances/{_UID}"
_VIEWS = "metadata|rendered|thumbnail"
_FRAMES = r"frames/[0-9]{1,6}(?:,[0-9]{1,6}){0,99}(?:/(?:rendered|thumbnail))?"
_BULK = r"bulk(?:data)?/[A-Za-z0-9_-]{1,64}(?:/[A-Za-z0-9_-]{1,64}){0,15}"  # Orthanc's, and the standard's
# QIDO-RS and WADO-RS; STOW-RS
READ = (
    f"(?:studies|series|instances|{_STUDY}(?:/(?:{_VIEWS}|series|instances))?|{_SERIES}(?:/(?:{_VIEWS}|instances))?"
    f"|{_INSTANCE}(?:/(?:{_VIEWS}|{_FRAMES}|{_BULK}))?)"
)
STORE = f"studies(?:/{_UID})?"


def checked_path(method: str, path: str) -> str:
    """An address below the archive's, as it is.

    Raises:
        UnknownError: none that DICOMweb has, or not for this method.
    """
    if not re.fullmatch(STORE if method == "POST" else READ, path):
        raise UnknownError("expected an address of DICOMweb")
    return path


def own_addresses(body: bytes, archive: str, own: str) -> bytes:
    """DICOM JSON in which the archive's own address is replaced, for a viewer follows what it finds there.

    Args:
        body: of an answer.
        archive: address of the archive's DICOMweb service.
        own: address that the viewer asks.
    """
    for slash in ("/", r"\/"):
        body = body.replace(archive.replace("/", slash).encode(), own.replace("/", slash).encode())
    return body
