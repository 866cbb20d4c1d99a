"""The DICOMweb addresses (PS3.18) that a viewer may request from the archive through the server."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from monai_dgm.labelling.server.http_errors import UnknownError

__all__ = ["checked_path", "mark_superseded", "own_addresses"]

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
    """The path unchanged, if it is one of the allowed ones.

    Args:
        method: POST for STOW-RS, another one for QIDO-RS and WADO-RS.
        path: relative to the address of the archive.

    Raises:
        UnknownError: another path.
    """
    if not re.fullmatch(STORE if method == "POST" else READ, path):
        raise UnknownError("expected an address of DICOMweb")
    return path


def own_addresses(body: bytes, archive: str, own: str) -> bytes:
    """Replace the archive's address in DICOM JSON by ours, since viewers follow the addresses in it.

    Args:
        body: of an answer of the archive.
        archive: address of the DICOMweb service of the archive.
        own: address of this server for the viewer.
    """
    for slash in ("/", r"\/"):
        body = body.replace(archive.replace("/", slash).encode(), own.replace("/", slash).encode())
    return body


def mark_superseded(body: bytes, series: Collection[str]) -> bytes:
    """Write "SUPERSEDED" before the description of some series in DICOM JSON, for viewers that list them.

    Args:
        body: of an answer of the archive.
        series: Series Instance UIDs.
    """
    if not any(uid.encode() in body for uid in series):
        return body
    try:
        items = json.loads(body)
        for item in items:
            if (item.get("0020000E") or {}).get("Value") in [[uid] for uid in series]:
                known = ((item.get("0008103E") or {}).get("Value") or [""])[0]
                item["0008103E"] = {"vr": "LO", "Value": [f"SUPERSEDED {known}"[:64].strip()]}
        return json.dumps(items).encode()
    except (ValueError, AttributeError, TypeError):  # another form of JSON
        return body
