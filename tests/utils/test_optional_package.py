"""Packages of the extras: what is there is imported, what is not is told with the way to get it."""

from __future__ import annotations

import json.decoder
import sys

import pytest

from monai_dgm.errors import InputError
from monai_dgm.utils.optional_package import import_package


def test_the_module_of_that_name() -> None:
    assert import_package("json.decoder", "reports", "dicom") is json.decoder


@pytest.mark.parametrize("name", ["highdicom", "highdicom.sr"])
def test_the_error_names_purpose_package_and_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"^reports: highdicom is not installed; pip install 'monai-dgm\[dicom\]'$"):
        import_package(name, "reports", "dicom")
