"""Fit the chest check on training chests, and measure on test chests how often it is wrong."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.engines.lungs.chest_check import (
    LEAST_CHESTS,
    ChestReference,
    chest_plausibility,
    describe_lungs,
    fit_chest_reference,
)
from monai_dgm.errors import InputError
from monai_dgm.metrics.case_results import MetricRow, groups_of, origin_of
from monai_dgm.metrics.intervals import weighted_mean
from monai_dgm.metrics.metric_sets import Weights, metric_rows
from monai_dgm.transforms.lungs import lung_probability

__all__ = ["chest_rows", "fit_chest_check"]

logger = logging.getLogger(__name__)

TURNS = {"upside_down": 2, "quarter_turn": 1}


def _probabilities(
    network: nn.Module, dataset: RadiographDataset, device: torch.device | str, turns: int = 0
) -> Iterator[NDArray[np.float32]]:
    """Lung probability of each radiograph without its border, turned by ``turns`` quarter turns before."""
    for start in range(0, len(dataset), 16):
        indices = list(range(start, min(start + 16, len(dataset))))
        image = torch.rot90(dataset.images_as_tensor(indices), turns, (2, 3)).to(device)
        planes = torch.rot90(lung_probability(network, image), -turns, (2, 3))[:, 0].cpu().numpy()
        for index, plane in zip(indices, planes, strict=True):
            yield np.rot90(plane[dataset.geometries[index].content], turns)


def fit_chest_check(
    network: nn.Module,
    datalist: Sequence[dict[str, Any]],
    size: int,
    cache_dir: str | os.PathLike[str],
    path: str | os.PathLike[str],
    device: torch.device | str = "cpu",
    false_alarm_rate: float = 0.01,
    trained_on: str = "",
) -> ChestReference | None:
    """Fit the chest check on the training chests, those without a known lung mask too, and write it.

    Where the segmentor finds two lungs in too few of them, there is no check: None, a warning, and no file.

    Args:
        network: the trained segmentor; it is put into evaluation mode.
        datalist: training radiographs.
        size: side S of the segmentor's input.
        cache_dir: of the prepared radiographs.
        path: of the JSON file, ``chest.json`` in the folder of the weights.
        device: where the network is.
        false_alarm_rate: share of these chests that the check shall question.
        trained_on: description of the data.
    """
    dataset = RadiographDataset(datalist, size, cache_dir)
    descriptions = [describe_lungs(plane) for plane in _probabilities(network.eval(), dataset, device)]
    found = sum(description is not None for description in descriptions)
    if found < LEAST_CHESTS:
        logger.warning("no chest check: two lungs were found in %d of %d training radiographs", found, len(dataset))
        Path(path).unlink(missing_ok=True)  # of an earlier segmentor
        return None
    reference = fit_chest_reference(descriptions, false_alarm_rate, trained_on)
    reference.write(path)
    return reference


@dataclass(frozen=True)
class _Questioned:
    patient_id: str
    source: str
    view: str
    sex: str
    questioned: float


def chest_rows(
    network: nn.Module,
    reference: ChestReference | str | os.PathLike[str],
    datalist: Sequence[dict[str, Any]],
    size: int,
    cache_dir: str | os.PathLike[str],
    device: torch.device | str = "cpu",
    num_bootstrap: int = 1000,
) -> list[MetricRow]:
    """How often the chest check questions test chests, and the same chests turned.

    Args:
        network: the segmentor; it is put into evaluation mode.
        reference: of the training chests, or its file; no rows where there is no such file.
        datalist: test radiographs, also those without a known lung mask.
        size, cache_dir, device: as in :func:`fit_chest_check`.
        num_bootstrap: resamples of the patients.

    Returns:
        rows "chest_false_alarm_rate" (for all and by group), and "questioned_upside_down" and
        "questioned_quarter_turn": images that are no upright chest, so the higher the better.
    """
    if not datalist:
        raise InputError("expected test radiographs for the chest check, got none")
    if not isinstance(reference, ChestReference):
        if not Path(reference).is_file():
            return []
        reference = ChestReference.read(reference)
    dataset = RadiographDataset(datalist, size, cache_dir)
    rows = []
    for name, turns in {"chest_false_alarm_rate": 0, **{f"questioned_{k}": v for k, v in TURNS.items()}}.items():
        outcomes = [
            not chest_plausibility(p, reference)[0] for p in _probabilities(network.eval(), dataset, device, turns)
        ]
        results = [
            _Questioned(str(item["patient_id"]), **origin_of(item), questioned=float(outcome))
            for item, outcome in zip(dataset.items, outcomes, strict=True)
        ]
        for group, members in groups_of(results).items() if turns == 0 else [("all", results)]:
            values = [record.questioned for record in members]
            patients = [record.patient_id for record in members]
            rows += metric_rows(partial(_rate, name, values), patients, num_bootstrap, group=group)
    return rows


def _rate(name: str, values: Sequence[float], weights: Weights) -> dict[str, NDArray[np.float64]]:
    return {name: weighted_mean(values, weights)}
