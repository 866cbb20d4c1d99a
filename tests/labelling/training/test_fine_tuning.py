from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from monai_dgm.data.sampler import BalancedBatchSampler
from monai_dgm.errors import InputError
from monai_dgm.labelling.training.fine_tuning import FineTuneOptions, batch_mixture

BOX, NONE = np.ones((1, 4)), np.zeros((0, 4))


def test_defaults_are_those_that_clients_are_shown() -> None:
    shown = FineTuneOptions().model_dump()
    assert list(shown) == [
        "max_epochs",
        "epoch_length",
        "batch_size",
        "learning_rate",
        "correction_share",
        "promote_on_few",
    ]
    assert FineTuneOptions.of({}) == FineTuneOptions() == FineTuneOptions.of(shown)
    assert FineTuneOptions.of({name: str(value) for name, value in shown.items()}) == FineTuneOptions()
    assert FineTuneOptions.of({"client_id": "x", "max_epochs": 3}).max_epochs == 3
    assert FineTuneOptions.of({"promote_on_few": "True"}).promote_on_few


WRONG: list[dict[str, Any]] = [
    {"max_epochs": 0}, {"max_epochs": 1e9}, {"max_epochs": 2.5}, {"max_epochs": "x"}, {"max_epochs": [1]},
    {"learning_rate": 1.0}, {"learning_rate": float("nan")}, {"correction_share": 0}, {"batch_size": True},
    {"promote_on_few": 1}, {"promote_on_few": "yes"},
    {"dataset_dir": "/etc"}, {"replay": "/etc"}, {"output_dir": "x"}, {"device": "cuda"},
]  # fmt: skip


@pytest.mark.parametrize("params", WRONG)
def test_wrong_options_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        FineTuneOptions.of(params)
    assert "/etc" not in str(caught.value) and "\n" not in str(caught.value)


def items_of(corrections: list[Any], originals: list[Any]) -> list[dict[str, Any]]:
    return [{"corrected": 1, "opacity_boxes": boxes} for boxes in corrections] + [
        {"corrected": 0, "opacity_boxes": boxes} for boxes in originals
    ]


@pytest.mark.parametrize(
    "items",
    [
        items_of([BOX], [NONE, BOX, BOX]),
        items_of([BOX, NONE, BOX], []),
        items_of([BOX, BOX], []),
        items_of([NONE], []),
        items_of([], [BOX, NONE]),
    ],
)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("batch_size", [2, 8])
def test_any_mixture_of_images_can_be_drawn(items: list[dict[str, Any]], share: float, batch_size: int) -> None:
    classes, fraction = batch_mixture(items, share, batch_size)
    batches = list(BalancedBatchSampler(classes, batch_size, fraction, epoch_length=20))
    assert len(batches) == 20 and {place for batch in batches for place in batch} == set(range(len(items)))


def test_half_a_batch_are_corrections() -> None:
    items = items_of([BOX], [NONE] * 50)
    classes, fraction = batch_mixture(items, 0.5, 8)
    for batch in BalancedBatchSampler(classes, 8, fraction, epoch_length=5):
        assert sum(place == 0 for place in batch) == 4
