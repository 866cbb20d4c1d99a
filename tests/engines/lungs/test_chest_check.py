"""The chest check on drawn lungs: what it describes, how often it is wrong by design, what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from monai_dgm.engines.lungs.chest_check import (
    FEATURES,
    SCORE_CAP,
    ChestReference,
    chest_plausibility,
    describe_lungs,
    fit_chest_reference,
)
from monai_dgm.errors import InputError
from tests.engines.drawn_lungs import lungs

NAMES = list(FEATURES)


@pytest.fixture(scope="module")
def reference() -> ChestReference:
    return fit_chest_reference([describe_lungs(lungs(seed)) for seed in range(400)], 0.02, "drawn lungs")


def test_description_is_relative_to_the_radiograph() -> None:
    small, large = describe_lungs(lungs(1)), describe_lungs(lungs(1, 256, 256))
    assert small is not None and large is not None and len(small) == len(FEATURES)
    np.testing.assert_allclose(small, large, atol=0.12)
    values = dict(zip(NAMES, large, strict=True))
    assert 0.25 < values["right_x"] < 0.35 and 0.65 < values["left_x"] < 0.75
    assert np.exp(values["right_area"]) == pytest.approx(np.pi * 0.13 * 0.33, rel=0.3)
    assert values["mirror"] > 0.8 and values["level"] > 0.8 and values["gap"] > 0.05


def test_mirror_is_one_for_mirrored_lungs() -> None:
    half = lungs(2)[:, :32]
    description = describe_lungs(np.concatenate((half, half[:, ::-1]), axis=1))
    assert description is not None and description[NAMES.index("mirror")] == pytest.approx(1)


@pytest.mark.parametrize("plane", [np.zeros((32, 32)), np.where(np.arange(32) < 12, lungs(rows=32, cols=32), 0.0)])
def test_without_two_lungs_there_is_no_description(plane: NDArray[np.float64]) -> None:
    assert describe_lungs(plane) is None


def test_training_chests_exceed_the_threshold_as_often_as_asked(reference: ChestReference) -> None:
    questioned = [not chest_plausibility(lungs(seed), reference)[0] for seed in range(400)]
    assert reference.false_alarm_rate == 0.02 and reference.num_chests == 400
    assert np.mean(questioned) == pytest.approx(reference.training_rate) and reference.training_rate <= 0.02


def test_other_chests_are_accepted_nearly_as_often(reference: ChestReference) -> None:
    assert np.mean([chest_plausibility(lungs(seed), reference)[0] for seed in range(1000, 1200)]) > 0.93


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda plane: np.zeros_like(plane), "no lungs were found"),
        (lambda plane: np.where(np.arange(64) < 32, plane, 0.0), "only one lung was found"),
        (lambda plane: np.rot90(plane), "frontal chest"),
        (lambda plane: np.pad(plane, 64), "the .* (smaller|larger) than in nearly all training chests"),
        (lambda plane: np.where(plane > 0.5, 0.55, 0.45), "doubt|uncertain edge"),
    ],
)
def test_what_is_no_chest_is_questioned_in_words(reference: ChestReference, change: Callable, words: str) -> None:
    plausible, reason, score = chest_plausibility(change(lungs(7)), reference)
    assert not plausible and 1 < score <= SCORE_CAP
    assert reason.startswith("this does not look like a frontal chest: ") and re.search(words, reason)


def test_a_chest_is_plausible_without_words(reference: ChestReference) -> None:
    plausible, reason, score = chest_plausibility(lungs(7), reference)
    assert plausible and reason == "" and 0 <= score <= 1


def test_parts_sum_to_the_squared_distance(reference: ChestReference) -> None:
    description = describe_lungs(lungs(9))
    assert description is not None
    assert reference.parts(description).sum() == pytest.approx(reference.distance(description) ** 2)
    assert reference.distance(np.array(reference.centre)) == 0


def test_chests_without_lungs_count_as_false_alarms() -> None:
    found = [describe_lungs(lungs(seed)) for seed in range(90)]
    reference = fit_chest_reference([*found, *[None] * 10], 0.2)
    assert reference.training_rate == pytest.approx(0.2, abs=0.011) and reference.num_chests == 100
    helpless = fit_chest_reference([*found, *[None] * 10], 0.05)
    assert np.isfinite(helpless.threshold) and helpless.training_rate == pytest.approx(0.1)


def test_a_few_failed_segmentations_do_not_shape_the_reference(reference: ChestReference) -> None:
    odd = [describe_lungs(np.roll(lungs(seed) * 0.8, 12, axis=0)) for seed in range(12)]
    mixed = fit_chest_reference([*(describe_lungs(lungs(seed)) for seed in range(388)), *odd], 0.05)
    np.testing.assert_allclose(mixed.centre, reference.centre, atol=0.05)


@pytest.mark.parametrize("rate", [0.0, 1.0, -1])
def test_rates_and_numbers_that_cannot_be(rate: float) -> None:
    descriptions = [describe_lungs(lungs(seed)) for seed in range(25)]
    with pytest.raises(InputError, match="false_alarm_rate: expected a share between 0 and 1"):
        fit_chest_reference(descriptions, rate)
    with pytest.raises(InputError, match="at least 20 training chests .* got 19 of 30: is the segmentor trained"):
        fit_chest_reference([*descriptions[:19], *[None] * 11])


def test_file_and_back(reference: ChestReference, tmp_path: Path) -> None:
    path = tmp_path / "chest.json"
    reference.write(path)
    assert ChestReference.read(path) == reference
    assert json.loads(path.read_text())["trained_on"] == "drawn lungs"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"features": []}'])
def test_other_files_are_refused_by_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "chest.json").write_text(text)
    with pytest.raises(InputError, match="chest.json: expected a chest reference as JSON"):
        ChestReference.read(tmp_path / "chest.json")


def test_reference_of_other_features_is_refused(reference: ChestReference, tmp_path: Path) -> None:
    reference.write(tmp_path / "chest.json")
    values = json.loads((tmp_path / "chest.json").read_text())
    (tmp_path / "chest.json").write_text(json.dumps({**values, "features": ["area"]}))
    with pytest.raises(InputError, match="with the features of this version; fit it again"):
        ChestReference.read(tmp_path / "chest.json")
