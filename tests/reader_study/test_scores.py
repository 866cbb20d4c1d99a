"""Simulated readers of known preference are found again; scores are the paper's."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest

from monai_dgm.errors import InputError
from monai_dgm.reader_study.answers import ReaderAnswers
from monai_dgm.reader_study.scores import (
    agreement,
    comparisons,
    drop_out,
    fit_bradley_terry,
    score_systems,
)
from monai_dgm.reader_study.study import Key, Shown
from monai_dgm.reader_study.tables import score_text, write_scores

STRENGTHS = {"vagan": -1.5, "cyclegan": -0.5, "munit": 0.1, "drit": 0.5, "dgm": 1.4}


def make_key(systems: list[str], num_images: int, num_catch: int = 0) -> Key:
    draw = np.random.default_rng(10_000)  # of no reader
    trials = {}
    for image in range(num_images):
        for pair in itertools.combinations(systems, 2):
            left, right = pair if draw.random() < 0.5 else pair[::-1]
            trials[f"t{len(trials)}"] = Shown(str(image), left, right, "")
    for name in list(trials)[:num_catch]:
        trials[f"again-{name}"] = Shown(trials[name].image, trials[name].right, trials[name].left, name)
    return Key("study", systems, trials)


def simulated(key: Key, strengths: dict[str, float], reader: str, seed: int) -> ReaderAnswers:
    """A reader who chooses by the Bradley-Terry model."""
    draw = np.random.default_rng(seed)
    answers = ReaderAnswers(reader)
    for name, one in key.trials.items():
        left = 1 / (1 + math.exp(strengths[one.right] - strengths[one.left]))
        answers.choices[name] = "left" if draw.random() < left else "right"
    return answers


@pytest.mark.parametrize("seed", range(3))
def test_known_strengths_come_back_within_the_interval(seed: int) -> None:
    key = make_key(list(STRENGTHS), 40)
    readers = [simulated(key, STRENGTHS, f"r{i}", 100 * seed + i) for i in range(4)]
    scores = score_systems(key, comparisons(key, readers), 400)
    for one in scores:
        bounds = one.strength.interval
        assert bounds.low <= STRENGTHS[one.system] <= bounds.high, one
        assert bounds.low < one.strength.value < bounds.high and bounds.high - bounds.low < 1.2
    assert [one.system for one in sorted(scores, key=lambda one: one.strength.value)] == list(STRENGTHS)


def test_readers_without_a_preference_give_intervals_that_hold_zero() -> None:
    key = make_key(["a", "b", "c"], 40)
    readers = [simulated(key, dict.fromkeys("abc", 0.0), f"r{i}", i) for i in range(5)]
    for one in score_systems(key, comparisons(key, readers), 400):
        assert one.strength.interval.low < 0 < one.strength.interval.high


def test_scores_of_five_systems_add_up_to_one_and_forty_percent_is_the_ceiling() -> None:
    key = make_key(list(STRENGTHS), 20)
    always = {name: 60.0 if name == "dgm" else value for name, value in STRENGTHS.items()}
    scores = score_systems(key, comparisons(key, [simulated(key, always, "r", 0)]), 100)
    assert sum(one.score.value for one in scores) == pytest.approx(1)
    assert {round(one.ceiling, 12) for one in scores} == {0.4}
    best = next(one for one in scores if one.system == "dgm")
    assert best.score.value == pytest.approx(0.4) and best.win_rate.value == 1 and best.comparisons == 80
    assert math.isfinite(best.strength.value)


def test_two_systems_have_the_log_odds_as_difference() -> None:
    logs = fit_bradley_terry(np.array([[[0, 30.0], [10.0, 0]]]))
    assert logs[0, 0] - logs[0, 1] == pytest.approx(math.log(3), abs=1e-6) and logs.sum() == pytest.approx(0, abs=1e-9)


def test_the_fit_has_the_wins_that_it_expects() -> None:
    """The likelihood's condition, written out by itself: expected wins of each system are the observed ones."""
    wins = np.random.default_rng(0).integers(1, 20, (3, 4, 4)).astype(float) * (1 - np.eye(4))
    for table, logs in zip(wins, fit_bradley_terry(wins), strict=True):
        for i in range(4):
            expected = sum((table[i, j] + table[j, i]) / (1 + math.exp(logs[j] - logs[i])) for j in range(4) if j != i)
            assert expected == pytest.approx(table[i].sum(), rel=1e-6)


def test_a_reader_who_chooses_by_the_image_agrees_with_oneself_and_one_who_chooses_a_side_does_not() -> None:
    key = make_key(["a", "b"], 40, num_catch=10)
    sure = simulated(key, {"a": 60.0, "b": 0.0}, "sure", 0)
    left = ReaderAnswers("left", dict.fromkeys(key.trials, "left"))
    assert agreement(key, [sure])["with_oneself"] == {"share": 1.0, "n": 10}
    assert agreement(key, [left])["with_oneself"] == {"share": 0.0, "n": 10}
    assert agreement(key, [left])["left"] == {"share": 1.0, "n": 50}
    twice = agreement(key, [sure, ReaderAnswers("other", dict(sure.choices))])["between_readers"]
    assert twice == {"share": 1.0, "kappa": pytest.approx(1), "n": 40}


def test_kappa_of_readers_who_guess_is_about_zero() -> None:
    key = make_key(["a", "b"], 1500)
    readers = [simulated(key, {"a": 0.0, "b": 0.0}, f"r{i}", i) for i in range(2)]
    assert abs(agreement(key, readers)["between_readers"]["kappa"]) < 0.08


def test_catch_trials_do_not_count_twice_and_who_stops_is_counted() -> None:
    key = make_key(["a", "b"], 20, num_catch=5)
    whole, part = simulated(key, {"a": 1.0, "b": 0.0}, "whole", 0), ReaderAnswers("part", {"t0": "left"})
    assert len(comparisons(key, [whole, part])) == 21
    assert drop_out(key, [whole, part, ReaderAnswers("none")]) == {
        "trials": 25,
        "began": 3,
        "finished": 1,
        "answered": {"whole": 25, "part": 1, "none": 0},
        "damaged_lines": 0,
    }


def test_answers_that_the_key_does_not_know_are_refused() -> None:
    key = make_key(["a", "b"], 2)
    with pytest.raises(InputError, match="does not have"):
        comparisons(key, [ReaderAnswers("r", {"other": "left"})])
    with pytest.raises(InputError, match="one answer or more"):
        score_systems(key, [])


def test_text_csv_and_json_say_the_same(tmp_path: Path) -> None:
    key = make_key(["a", "b"], 20, num_catch=3)
    readers = [simulated(key, {"a": 1.0, "b": 0.0}, "r", 0)]
    scores = score_systems(key, comparisons(key, readers), 100)
    agreed, dropped = agreement(key, readers), drop_out(key, readers)
    write_scores(tmp_path, scores, agreed, dropped)
    content = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    head, *rows = [line.split(",") for line in (tmp_path / "scores.csv").read_text(encoding="utf-8").splitlines()]
    for one, row, entry in zip(scores, rows, content["systems"], strict=True):
        told = dict(zip(head, row, strict=True))
        assert told["system"] == one.system == entry["system"]
        assert float(told["strength"]) == pytest.approx(one.strength.value, rel=1e-5)
        assert entry["strength"]["value"] == one.strength.value
    text = (tmp_path / "scores.txt").read_text(encoding="utf-8")
    assert text == score_text(scores, agreed, dropped) + "\n" and f"{100 * scores[0].score.value:.1f}" in text
    assert "nothing to compare" in text  # one reader
    assert content["agreement"]["between_readers"]["share"] is None
