"""Files with one element of the header changed: each is read or refused in one line, and nothing else happens."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.readers_sweeps import dicom_files, nifti_files, sweep


def assert_clean(counts: Counter[str], at_least: int) -> None:
    assert counts.total() >= at_least
    assert set(counts) == {"read", "refused"}, counts  # both happen, and nothing else


def test_some_dicom_headers() -> None:
    assert_clean(sweep(dicom_files(), "dcm", step=9), 100)


def test_some_nifti_headers() -> None:
    assert_clean(sweep(nifti_files(), "nii", step=37), 100)


@pytest.mark.slow
def test_all_dicom_headers() -> None:
    assert_clean(sweep(dicom_files(), "dcm"), 837)


@pytest.mark.slow
def test_all_nifti_headers() -> None:
    assert_clean(sweep(nifti_files(), "nii"), 4673)
