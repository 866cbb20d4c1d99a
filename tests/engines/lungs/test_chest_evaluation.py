"""Fitting and measuring the chest check over data sets, with a segmentor that takes what is dark for lung."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.engines.lungs.chest_check import ChestReference
from monai_dgm.engines.lungs.chest_evaluation import _probabilities, chest_rows, fit_chest_check
from monai_dgm.errors import InputError
from tests.engines.drawn_lungs import lungs

Datalist = list[dict[str, Any]]


class Dark(nn.Module):
    """Takes what is dark for lung; the border that "pad" adds is as dark."""

    def forward(self, image: Tensor) -> Tensor:
        return -6 * image


class Nothing(nn.Module):
    """Finds no lungs."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.full_like(image, -9.0)


@pytest.fixture(scope="module")
def datalist(tmp_path_factory: pytest.TempPathFactory) -> Datalist:
    """Drawn chests of two shapes, dark lungs on bright ground."""
    folder = tmp_path_factory.mktemp("drawn")
    items = []
    for seed in range(60):
        plane = lungs(seed, 64, 56 if seed % 2 else 64)
        Image.fromarray(np.uint8(250 - 240 * plane)).save(folder / f"{seed}.png")
        names = {"image_id": str(seed), "patient_id": str(seed // 2), "source": "wide" if seed % 2 == 0 else "narrow"}
        items.append({"image": str(folder / f"{seed}.png"), "label": 0, **names})
    return items


def test_fitted_on_some_measured_on_others(datalist: Datalist, tmp_path: Path) -> None:
    path = tmp_path / "models" / "chest.json"
    reference = fit_chest_check(Dark(), datalist[:40], 64, tmp_path, path, false_alarm_rate=0.1, trained_on="drawn")
    assert reference == ChestReference.read(path) and reference.num_chests == 40 and reference.trained_on == "drawn"
    rows = chest_rows(Dark(), path, datalist[40:], 64, tmp_path, num_bootstrap=50)
    values = {(row.group, row.name): row for row in rows}
    assert set(values) == {
        *((group, "chest_false_alarm_rate") for group in ("all", "source:wide", "source:narrow")),
        ("all", "questioned_upside_down"),
        ("all", "questioned_quarter_turn"),
    }
    alarms = values["all", "chest_false_alarm_rate"]
    assert alarms.value <= 0.3 and (alarms.num_images, alarms.num_patients) == (20, 10)
    assert values["all", "questioned_quarter_turn"].value == 1
    parts = [values[f"source:{name}", "chest_false_alarm_rate"].value for name in ("wide", "narrow")]
    assert np.mean(parts) == pytest.approx(alarms.value)


@pytest.mark.parametrize(("turns", "shapes"), [(0, {(64, 64), (64, 56)}), (1, {(64, 64), (56, 64)})])
def test_radiographs_are_looked_at_without_their_border(
    datalist: Datalist, tmp_path: Path, turns: int, shapes: set[tuple[int, int]]
) -> None:
    dataset = RadiographDataset(datalist[:4], 64, tmp_path)
    straight = list(_probabilities(Dark(), dataset, "cpu"))
    planes = list(_probabilities(Dark(), dataset, "cpu", turns))
    assert {plane.shape for plane in planes} == shapes
    assert all(np.allclose(np.rot90(one, turns), other, atol=1e-5) for one, other in zip(straight, planes, strict=True))


def test_segmentor_that_finds_nothing_has_no_check(
    datalist: Datalist, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "chest.json"
    path.write_text("of an earlier segmentor")
    with caplog.at_level(logging.WARNING):
        assert fit_chest_check(Nothing(), datalist[:30], 64, tmp_path, path) is None
    assert "two lungs were found in 0 of 30 training radiographs" in caplog.text
    assert not path.exists() and chest_rows(Nothing(), path, datalist[:2], 64, tmp_path) == []


def test_no_radiographs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected test radiographs for the chest check"):
        chest_rows(Dark(), tmp_path / "chest.json", [], 64, tmp_path)
