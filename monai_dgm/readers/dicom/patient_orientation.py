"""How a DICOM radiograph lies, and what kind it is, where its header says so.

Patient Orientation (0020,0020) names the direction in the patient of a row, left to right, and of a column, top to
bottom (PS3.3 C.7.6.1.1.1). A frontal radiograph is looked at with the patient's left on the right and the head up,
which is L\\F. One that says R\\F is mirrored, L\\H is upside down, A\\F is lateral.
"""

from __future__ import annotations

from typing import Any

import pydicom

from monai_dgm.utils.orientation import UPRIGHT, WORDS, orientation_of

# Views of CID 4010 that are frontal, by code value in SNOMED CT and in SNOMED RT, which it replaced
_FRONTAL_VIEWS = {
    "399033003": "frontal",
    "R-10202": "frontal",
    "399348003": "AP",
    "R-10206": "AP",
    "272479007": "PA",
    "272460009": "PA",
    "R-40888": "PA",
    "R-10214": "PA",
}
_OTHER_VIEWS = {
    "399067008": "lateral",
    "R-102CD": "lateral",
    "399198007": "right lateral",
    "R-10232": "right lateral",
    "399173006": "left lateral",
    "R-10236": "left lateral",
}
_LETTERS = set("LRAPHF")
_PROCESSING_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.1.1.1": "Digital X-Ray Image Storage - For Processing",
    "1.2.840.10008.5.1.4.1.1.1.2.1": "Digital Mammography X-Ray Image Storage - For Processing",
    "1.2.840.10008.5.1.4.1.1.1.3.1": "Digital Intra-Oral X-Ray Image Storage - For Processing",
}


def read_orientation(dataset: pydicom.Dataset) -> tuple[int, tuple[str, ...]]:
    """How to turn an image upright (see :mod:`monai_dgm.utils.orientation`), and a remark where that is not 1.

    A remark alone, and 1, where the element holds what the standard does not know. Without the element, or where it
    does not look at the patient from the front or from behind (:func:`read_kind`): 1, no remark.
    """
    value = _values(dataset, "PatientOrientation")
    if not value:
        return UPRIGHT, ()
    letters = tuple(text[:1] for text in value)
    shown = "\\".join(value)
    if not _are_two_directions(value):
        return UPRIGHT, ("Patient Orientation is not of two directions, not used",)
    row, column = letters
    if {row, column} & set("AP"):
        return UPRIGHT, ()
    if row in "LR" and column in "HF":
        number = orientation_of(False, column == "H", row == "R")
    elif row in "HF" and column in "LR":
        number = orientation_of(True, row == "H", column == "R")
    else:
        return UPRIGHT, (f"Patient Orientation {shown}, two directions that are one, not used",)
    return number, () if number == UPRIGHT else (f"Patient Orientation {shown}: {WORDS[number]}",)


def read_kind(dataset: pydicom.Dataset) -> tuple[str, ...]:
    """Remarks on views that are not frontal, by Patient Orientation or View Code, and on images for processing."""
    remarks = []
    directions = _values(dataset, "PatientOrientation")
    if _are_two_directions(directions) and {text[:1] for text in directions} & set("AP"):
        remarks.append(f"Patient Orientation {_text(dataset, 'PatientOrientation')}, expected a frontal view")
    view = _view_code(dataset)
    if view in _OTHER_VIEWS:
        remarks.append(f"view {_OTHER_VIEWS[view]}, expected PA or AP")
    elif view is not None and view not in _FRONTAL_VIEWS:
        remarks.append("View Code Sequence names another view than PA or AP")
    intent = " ".join(_values(dataset, "PresentationIntentType"))
    if intent == "FOR PROCESSING" or _text(dataset, "SOPClassUID") in _PROCESSING_CLASSES:
        remarks.append("image for processing, expected one for presentation")
    return tuple(remarks)


def _are_two_directions(values: list[str]) -> bool:
    return len(values) == 2 and set("".join(values)) <= _LETTERS


def _view_code(dataset: pydicom.Dataset) -> str | None:
    try:
        sequence: Any = dataset.get("ViewCodeSequence")
        return (str(sequence[0].get("CodeValue") or "").strip() or None) if sequence else None
    except Exception:  # a damaged element says nothing
        return None


def _text(dataset: pydicom.Dataset, keyword: str) -> str:
    return "\\".join(_values(dataset, keyword))


def _values(dataset: pydicom.Dataset, keyword: str) -> list[str]:
    """The values of an element as text in upper case; none where it is missing, empty or damaged."""
    try:
        value: Any = dataset.get(keyword)
        values = [value] if isinstance(value, str) else list(value or [])
        found = [str(one).strip("\0 ").upper()[:64] for one in values]
    except Exception:
        return []
    return found if any(found) else []
