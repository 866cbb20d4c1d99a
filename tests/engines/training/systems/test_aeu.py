"""AE-U's step: normal images alone, and the typical deviation that its residues are scaled by."""

from __future__ import annotations

import copy

import pytest
import torch

from monai_dgm.engines.training.systems.aeu import track_typical_deviation
from tests.engines.training.small_steps import same, weights_of
from tests.engines.training.systems.small_systems import aeu, make_batch


def test_abnormal_images_teach_nothing() -> None:
    first, second = aeu(), aeu()
    second.network.load_state_dict(first.network.state_dict())
    batch = make_batch((0, 1, 0, 1))
    other = copy.deepcopy(batch)
    other["image"][batch["label"] == 1] = 0.5
    first(batch)
    report = second(other)
    assert same(weights_of(first.network), weights_of(second.network))
    assert report["label"].tolist() == [0, 0]


def test_the_reconstruction_improves() -> None:
    step, batch = aeu(), make_batch((0, 0, 0, 0))
    reports = [step(batch) for _ in range(40)]
    assert reports[-1]["loss"] < reports[0]["loss"]
    assert reports[-1]["squared_error"] < reports[0]["squared_error"]


def test_typical_deviation_follows_the_predictions() -> None:
    buffer = torch.ones(())
    for _ in range(1000):
        track_typical_deviation(buffer, torch.full((2, 1, 4, 4), 2 * torch.log(torch.tensor(0.25)).item()))
    assert buffer.item() == pytest.approx(0.25, rel=1e-3)
