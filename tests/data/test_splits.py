"""Splits: whole patients, seeded, complete."""

from __future__ import annotations

from typing import Any

import pytest

from monai_dgm.data.splits import check_disjoint, rsna_split, select_folds, split_by_patient
from monai_dgm.errors import InputError


def make(num_patients: int, images: int = 2) -> list[dict[str, Any]]:
    return [
        {
            "image": f"{patient}_{image}.png",
            "image_id": f"{patient}_{image}",
            "patient_id": f"p{patient}",
            "fold": patient % 5,
            "section": "hold_out" if patient >= 0.8 * num_patients else "development",
        }
        for patient in range(num_patients)
        for image in range(images)
    ]


def patients(datalist: list[dict[str, Any]]) -> set[str]:
    return {item["patient_id"] for item in datalist}


@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.9, 0.001])
def test_split_by_patient(fraction: float) -> None:
    datalist = make(101)
    rest, held = split_by_patient(datalist, fraction, 3)
    assert patients(rest).isdisjoint(patients(held)) and len(rest) + len(held) == len(datalist)
    assert len(patients(held)) == max(1, round(101 * fraction))
    assert [item for item in datalist if item in held] == held
    again = split_by_patient(datalist[::-1], fraction, 3)
    assert patients(again[1]) == patients(held)
    if fraction > 0.01:
        assert patients(split_by_patient(datalist, fraction, 4)[1]) != patients(held)


def test_unusable_splits() -> None:
    with pytest.raises(InputError, match="fraction must be between 0 and 1"):
        split_by_patient(make(3), 1.0)
    with pytest.raises(InputError, match="at least two patients"):
        split_by_patient(make(1), 0.5)
    with pytest.raises(InputError, match="each patient in one part"):
        check_disjoint(make(3), make(4)[-2:], make(2))


def test_select_folds() -> None:
    datalist = make(20)
    chosen = select_folds(datalist, [0, 3])
    assert {item["fold"] for item in chosen} == {0, 3} and len(chosen) == 16
    with pytest.raises(InputError, match=r"the data has the folds \[0, 1, 2, 3, 4\]"):
        select_folds(datalist, [7])
    datalist[0]["fold"] = 1  # now one patient is in two folds
    with pytest.raises(InputError, match="each patient in one part"):
        select_folds(datalist, [1])
    datalist[0]["fold"] = None
    with pytest.raises(InputError, match=r"0_0\.png: expected a fold"):
        select_folds(datalist, [1])


def test_rsna_splits_share_the_hold_out_only() -> None:
    datalist = make(100, images=1)
    validations = []
    for split in range(5):
        train, validation, test = rsna_split(datalist, split)
        assert (len(train), len(validation), len(test)) == (76, 4, 20)
        assert {item["section"] for item in test} == {"hold_out"}
        validations.append(patients(validation))
    assert len({frozenset(names) for names in validations}) == 5
    assert patients(rsna_split(datalist, 0, seed=1)[1]) != validations[0]
    with pytest.raises(InputError, match="split must be 0 to 4"):
        rsna_split(datalist, 5)
    with pytest.raises(InputError, match="sections"):
        rsna_split([{**item, "section": None} for item in datalist], 0)
