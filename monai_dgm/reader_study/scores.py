"""Scores of a study: share of wins as in the paper's Table 3, Bradley-Terry strengths, agreement, drop-out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dgm.errors import InputError
from monai_dgm.metrics.intervals import Interval, interval, patient_weights, weighted_mean
from monai_dgm.reader_study.answers import ReaderAnswers
from monai_dgm.reader_study.study import Key

FloatArray = NDArray[np.float64]
PRIOR = 0.5
"""Comparisons added as won by either side of each two systems, so that one that always wins has a finite strength."""


@dataclass(frozen=True)
class Comparison:
    """One answer of the first time that a trial was shown.

    Attributes:
        reader: code.
        image: radiograph.
        winner: system that was chosen.
        loser: the other one.
        left: whether the left image was chosen.
    """

    reader: str
    image: str
    winner: str
    loser: str
    left: bool


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class SystemScore:
    """Scores of a system.

    Attributes:
        system: name.
        comparisons: in which it was shown.
        score: share of all comparisons that it won: the paper's human preference score. They add up to 1.
        ceiling: share of all comparisons in which it was shown, the highest score that it could have; 0.4 for five
            systems that are all compared with each other.
        win_rate: share that it won of those in which it was shown.
        strength: Bradley-Terry, natural logarithm, less the mean of the systems.
    """

    system: str
    comparisons: int
    score: Estimate
    ceiling: float
    win_rate: Estimate
    strength: Estimate


def comparisons(key: Key, readers: Sequence[ReaderAnswers]) -> list[Comparison]:
    """Answers by system; catch trials are left out, since they ask a second time.

    Raises:
        InputError: an answer to a trial that the key does not have.
    """
    found = []
    for one in readers:
        for trial, choice in one.choices.items():
            if trial not in key.trials:
                raise InputError(f"{one.reader}: expected answers to trials of the key, got one that it does not have")
            shown = key.trials[trial]
            if not shown.repeats:
                won, lost = (shown.left, shown.right) if choice == "left" else (shown.right, shown.left)
                found.append(Comparison(one.reader, shown.image, won, lost, choice == "left"))
    return found


def fit_bradley_terry(wins: FloatArray, tolerance: float = 1e-9, most_steps: int = 10_000) -> FloatArray:
    """Strengths that make the wins most likely, by the minorise-maximise steps of Hunter (2004, eq. 3).

    Args:
        wins: (B, K, K), how often system i won against j; every two systems must be joined by wins in both directions.
        tolerance: largest change of a log strength in the last step.
        most_steps: after which the steps end.

    Returns:
        (B, K) log strengths, of mean 0 over the systems.
    """
    both = wins + wins.transpose(0, 2, 1)
    won = wins.sum(axis=2)
    logs = np.zeros(won.shape)
    for _ in range(most_steps):
        strength = np.exp(logs)
        expected = (both / (strength[:, :, None] + strength[:, None, :])).sum(axis=2)
        new = np.log(won / expected)
        new -= new.mean(axis=1, keepdims=True)
        change = np.abs(new - logs).max()
        logs = new
        if change < tolerance:
            break
    return logs


def score_systems(key: Key, found: Sequence[Comparison], num_bootstrap: int = 1000, seed: int = 0) -> list[SystemScore]:
    """Scores of every system, with intervals by bootstrap over readers and images at once.

    A resample weighs a comparison by how often its reader times how often its image was drawn (Owen 2007). With one
    reader the interval says nothing about other readers.

    Args:
        key: of the study.
        found: from :func:`comparisons`.
        num_bootstrap: resamples.
        seed: of the resamples.

    Raises:
        InputError: there is no comparison.
    """
    if not found:
        raise InputError("expected one answer or more, got none")
    by_reader = patient_weights([one.reader for one in found], num_bootstrap, seed)
    by_image = patient_weights([one.image for one in found], num_bootstrap, seed + 1)
    weights = np.concatenate([np.ones((1, len(found))), by_reader * by_image]).astype(np.float64)
    weights = weights[weights.sum(axis=1) > 0]  # readers and images that never meet
    strengths = fit_bradley_terry(_win_tables(key, found, weights))
    scores = []
    for k, system in enumerate(key.systems):
        won = np.array([one.winner == system for one in found], dtype=np.float64)
        shown = won + np.array([one.loser == system for one in found])
        with np.errstate(invalid="ignore", divide="ignore"):
            rates = np.where(weights @ shown > 0, weights @ won / (weights @ shown), np.nan)
        scores.append(
            SystemScore(
                system,
                int(shown.sum()),
                _estimate(weighted_mean(won, weights)),
                float(shown.mean()),
                _estimate(rates),
                _estimate(strengths[:, k] if shown.any() else np.full(len(weights), np.nan)),
            )
        )
    return scores


def _win_tables(key: Key, found: Sequence[Comparison], weights: FloatArray) -> FloatArray:
    """(B, K, K) weighted wins of row over column, with the prior for each two systems that the study compares."""
    number = {system: k for k, system in enumerate(key.systems)}
    tables = np.zeros((len(weights), len(number), len(number)))
    compared = np.zeros((len(number), len(number)), dtype=bool)
    for (i, first), (j, second) in itertools.permutations(enumerate(key.systems), 2):
        mask = np.array([one.winner == first and one.loser == second for one in found], dtype=np.float64)
        tables[:, i, j] = weights @ mask
    for i, j in {(number[one.left], number[one.right]) for one in key.trials.values() if not one.repeats}:
        # both orders of sides may be there; assigned once to each direction
        compared[i, j] = compared[j, i] = True
    return tables + PRIOR * compared


def _estimate(samples: FloatArray) -> Estimate:
    """The first is the value, the others are resamples."""
    return Estimate(float(samples[0]), interval(samples[1:]))


def agreement(key: Key, readers: Sequence[ReaderAnswers]) -> dict[str, Any]:
    """How often answers agree: between every two readers on the same trials, and of a reader with oneself.

    Returns:
        "between_readers": share of agreeing answers, Cohen's kappa over left and right, and number of answers compared,
        all pooled over pairs of readers; "with_oneself": share of catch trials with the same system chosen, and their
        number; "left": share of left choices and their number. NaN where nothing can be compared.
    """
    table = np.zeros((2, 2))
    first_trials = [name for name, one in key.trials.items() if not one.repeats]
    for one, other in itertools.combinations(readers, 2):
        for trial in first_trials:
            if trial in one.choices and trial in other.choices:
                table[int(one.choices[trial] == "left"), int(other.choices[trial] == "left")] += 1
    same = [
        one.choices[trial] != one.choices[shown.repeats]  # sides are swapped
        for one in readers
        for trial, shown in key.trials.items()
        if shown.repeats and trial in one.choices and shown.repeats in one.choices
    ]
    choices = [choice == "left" for one in readers for choice in one.choices.values()]
    return {
        "between_readers": {
            "share": _share(np.trace(table), table.sum()),
            "kappa": _kappa(table),
            "n": int(table.sum()),
        },
        "with_oneself": {"share": _share(sum(same), len(same)), "n": len(same)},
        "left": {"share": _share(sum(choices), len(choices)), "n": len(choices)},
    }


def _share(part: float, total: float) -> float:
    return float(part / total) if total else math.nan


def _kappa(table: FloatArray) -> float:
    """Cohen's kappa; the table is made symmetric, since it does not matter which reader comes first."""
    total = table.sum()
    if not total:
        return math.nan
    share = (table + table.T).sum(axis=1) / (2 * total)
    chance = float((share**2).sum())
    return float((np.trace(table) / total - chance) / (1 - chance)) if chance < 1 else math.nan


def drop_out(key: Key, readers: Sequence[ReaderAnswers]) -> dict[str, Any]:
    """Readers who began, who answered all, and how many trials each answered."""
    total = len(key.trials)
    answered = {one.reader: len(one.choices) for one in readers}
    return {
        "trials": total,
        "began": len(readers),
        "finished": sum(number == total for number in answered.values()),
        "answered": answered,
        "damaged_lines": sum(one.damaged for one in readers),
    }
