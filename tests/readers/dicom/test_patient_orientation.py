"""Patient Orientation, views and kinds of image in a header."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_dgm.readers.dicom.read import read_dicom
from monai_dgm.readers.radiograph import Radiograph
from monai_dgm.utils.orientation import to_upright

from .raw_files import Element, element, item, phantom, radiograph_bytes


def read(tmp_path: Path, pixels: np.ndarray, changes: dict[int, Element | None]) -> Radiograph:
    (tmp_path / "image.dcm").write_bytes(radiograph_bytes(pixels, changes))
    return read_dicom(tmp_path / "image.dcm")


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("L\\F", phantom()),
        ("R\\F", phantom()[:, ::-1]),
        ("L\\H", phantom()[::-1]),
        ("R\\H", phantom()[::-1, ::-1]),
        ("F\\L", phantom().T),
        ("H\\L", phantom().T[:, ::-1]),  # rows run to the head
        ("F\\R", phantom().T[::-1]),
        ("H\\R", phantom().T[::-1, ::-1]),
        ("LF\\FR", phantom()),
        ("", phantom()),
    ],
)
def test_patient_orientation_turns_upright(tmp_path: Path, value: str, stored: np.ndarray) -> None:
    image = read(tmp_path, stored, {0x00200020: ("CS", value)})
    assert np.array_equal(image.pixels, stored)  # the file's own pixels
    assert np.array_equal(to_upright(image.pixels, image.orientation), phantom())
    turned = image.orientation != 1
    assert len(image.remarks) == int(turned) and image.notes == image.remarks
    assert not turned or image.remarks[0].startswith(f"Patient Orientation {value}: ")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("A\\F", "Patient Orientation A\\F, expected a frontal view"),
        ("P\\F", "expected a frontal view"),
        ("L\\R", "not used"),
        ("L", "not of two directions"),
        ("L\\F\\H", "not of two directions"),
        ("LE\\D", "not of two directions"),  # of animals
        ("Doe\\Jane", "not of two directions"),
    ],
)
def test_other_orientations_are_a_remark(tmp_path: Path, value: str, words: str) -> None:
    image = read(tmp_path, phantom(), {0x00200020: ("CS", value)})
    assert image.orientation == 1 and len(image.remarks) == 1 and words in image.remarks[0]
    assert image.notes == (() if "expected" in words else image.remarks)  # what is not used questions nothing
    assert "Doe" not in image.remarks[0].title()


@pytest.mark.parametrize(
    ("scheme", "code", "words"),
    [
        ("SCT", "399348003", None),
        ("SRT", "R-10214", None),
        ("SCT", "399173006", "view left lateral, expected PA or AP"),
        ("SRT", "R-10232", "view right lateral"),
        ("99X", "odd", "View Code Sequence names another view"),
    ],
)
def test_view_code(tmp_path: Path, scheme: str, code: str, words: str | None) -> None:
    view = item(element(0x00080100, "SH", code), element(0x00080102, "SH", scheme), element(0x00080104, "LO", "Doe"))
    image = read(tmp_path, phantom(), {0x00540220: ("SQ", view)})
    assert len(image.remarks) == int(words is not None)
    assert words is None or words in image.remarks[0]


@pytest.mark.parametrize(
    "changes", [{0x00080068: ("CS", "FOR PROCESSING")}, {0x00080016: ("UI", "1.2.840.10008.5.1.4.1.1.1.1.1")}]
)
def test_image_for_processing(tmp_path: Path, changes: dict[int, Element | None]) -> None:
    assert read(tmp_path, phantom(), changes).remarks == ("image for processing, expected one for presentation",)
