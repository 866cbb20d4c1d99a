"""Splits into training, validation and test by patient: all images of a patient are in the same part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from monai_dgm.errors import InputError

Datalist = list[dict[str, Any]]
NUM_RSNA_SPLITS = 5
RSNA_VALIDATION_FRACTION = 0.05


def check_disjoint(*sides: Sequence[dict[str, Any]]) -> None:
    """Raise an InputError if a patient is in two of the ``sides``."""
    seen: dict[str, int] = {}
    for number, side in enumerate(sides):
        for item in side:
            if seen.setdefault(item["patient_id"], number) != number:
                raise InputError(f"expected each patient in one part of a split, image {item['image_id']} breaks that")


def select_folds(datalist: Datalist, folds: Iterable[int]) -> Datalist:
    """The items whose "fold" is in ``folds``, in their order.

    Raises:
        InputError: an item without a fold, an empty selection, or a patient both inside and outside the selection.
    """
    wanted = {int(fold) for fold in folds}
    for item in datalist:
        if item.get("fold") is None:
            raise InputError(f"{item['image']}: expected a fold (the manifest's column fold), got none")
    chosen = [item for item in datalist if item["fold"] in wanted]
    if not chosen:
        known = sorted({item["fold"] for item in datalist})
        raise InputError(f"expected images in the folds {sorted(wanted)}, the data has the folds {known}")
    check_disjoint(chosen, [item for item in datalist if item["fold"] not in wanted])
    return chosen


def split_by_patient(datalist: Datalist, fraction: float, seed: int | Sequence[int] = 0) -> tuple[Datalist, Datalist]:
    """Choose a share of the patients at random and split the items by it.

    The draw depends on the set of patients and the seed only, not on the order of the items.

    Args:
        datalist: items with "patient_id".
        fraction: share of the patients in the second list, in (0, 1); each list has at least one patient.
        seed: seed of the draw.

    Returns:
        (items of the other patients, items of the chosen patients), both in the order of ``datalist``.

    Raises:
        InputError: a fraction outside (0, 1), or fewer than two patients.
    """
    if not 0 < fraction < 1:
        raise InputError(f"fraction must be between 0 and 1, got {fraction}")
    patients = sorted({item["patient_id"] for item in datalist})
    if len(patients) < 2:
        raise InputError(f"expected at least two patients to split, got {len(patients)}")
    number = min(max(1, round(fraction * len(patients))), len(patients) - 1)
    order = np.random.default_rng(seed).permutation(len(patients))
    chosen = {patients[index] for index in order[:number]}
    rest = [item for item in datalist if item["patient_id"] not in chosen]
    second = [item for item in datalist if item["patient_id"] in chosen]
    check_disjoint(rest, second)
    return rest, second


def rsna_split(datalist: Datalist, split: int, seed: int = 0) -> tuple[Datalist, Datalist, Datalist]:
    """One of the paper's five splits of the RSNA challenge (section 5.2): 95 % / 5 % of the patients not held out.

    Args:
        datalist: from :func:`monai_dgm.data.rsna.load_rsna`, items with "section".
        split: 0 to 4.
        seed: each seed gives another set of five splits; the paper does not give its own.

    Returns:
        (train, validation, test); test is the 1,000-patient hold-out, the same in every split.

    Raises:
        InputError: a split outside 0 to 4, items without "section", or a patient in two parts.
    """
    if split not in range(NUM_RSNA_SPLITS):
        raise InputError(f"split must be 0 to {NUM_RSNA_SPLITS - 1}, got {split}")
    sections = {item.get("section") for item in datalist}
    if sections != {"development", "hold_out"}:
        raise InputError("expected items of the sections development and hold_out, as load_rsna gives them")
    development = [item for item in datalist if item["section"] == "development"]
    test = [item for item in datalist if item["section"] == "hold_out"]
    train, validation = split_by_patient(development, RSNA_VALIDATION_FRACTION, (seed, split))
    check_disjoint(train, validation, test)
    return train, validation, test
