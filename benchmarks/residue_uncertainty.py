"""What is the uncertainty of the residue worth, and does the head's probability mean what it says?

    python benchmarks/residue_uncertainty.py --dataset_dir FOLDER --output_dir OUT

Decomposes validation and test images and their mirror images. A pixel is wrong where |a| above a threshold (the one of
the best Dice on validation images) and the radiologists' boxes differ. For several uncertainty maps, among them that of
:mod:`monai_dgm.engines.residues.uncertainty`: AUC of the map for wrong pixels, over all and over marked ones, and the
share of wrong pixels among the 80 % of which the map is most certain. For several numbers of an image: Spearman's
correlation with 1 - Dice, and AUC for an image that the head calls wrongly. For the head: expected calibration error
and Brier score, before and after a temperature fitted on validation images. 95 % intervals by bootstrap over patients.

Maps, normals' spread, threshold and temperature come from validation images alone. Residues are kept in the output
folder, and a second run takes them from there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize, stats

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.sources import load_splits
from monai_dgm.engines.residues.uncertainty import disagreement, marked_probability, predictive_entropy
from monai_dgm.engines.weights import find_weights, load_residue_system, read_model_settings
from monai_dgm.metrics.agreement import weighted_correlation
from monai_dgm.metrics.intervals import histogram_auc, interval, patient_weights, pixel_histograms
from monai_dgm.utils.atomic import atomic_write, write_json

Floats = NDArray[np.float64]
SOURCES = ("nih", "siim_fisabio")
STEP = 2  # every second row and column of the maps
NUM_ECE_BINS = 15
KEPT = 0.8


@dataclass(frozen=True, eq=False)
class Passes:
    """Images of a part with the |a| and the probability of both passes; every ``STEP``-th row and column."""

    strength: NDArray[np.float32]  # (2, N, s, s)
    probability: Floats  # (2, N)
    opacity: NDArray[np.bool_]  # (N, s, s)
    boxed: NDArray[np.bool_]
    label: Floats
    source: NDArray[np.str_]
    patients: NDArray[np.str_]

    def take(self, index: NDArray[Any]) -> Passes:
        own = (getattr(self, name)[index] for name in ("opacity", "boxed", "label", "source", "patients"))
        return Passes(self.strength[:, index], self.probability[:, index], *own)


def decomposed(dataset: RadiographDataset, places: Sequence[int], given: argparse.Namespace, file: Path) -> Passes:
    """Both passes of some images, from ``file`` where a run has left them."""
    items, count, size = [dataset.items[place] for place in places], len(places), dataset.images.shape[-1]
    if file.is_file():
        with np.load(file) as known:
            residues, probability = known["residues"], known["probability"]
    else:
        network = load_residue_system(given.decomposer)
        residues = np.empty((2, count, size // STEP, size // STEP), np.float16)
        probability = np.empty((2, count))
        for start in range(0, count, 8):
            part = slice(start, min(start + 8, count))
            images = dataset.images_as_tensor(places[part])
            for number in range(2):
                with torch.inference_mode():
                    found = network(images.flip(-1) if number else images)
                residue = found[:, 1].flip(-1) if number else found[:, 1]
                residues[number, part] = residue[:, ::STEP, ::STEP].numpy()
                probability[number, part] = found[:, 2, 0, 0].double().numpy()
        with atomic_write(file) as partial, open(partial, "wb") as stream:
            np.savez(stream, residues=residues, probability=probability)
    boxed = np.array([len(item.get("opacity_boxes", ())) > 0 for item in items])
    opacity = np.zeros(residues.shape[1:], bool)
    for i in np.flatnonzero(boxed):
        opacity[i] = dataset.truth(places[i])["opacity_mask"][::STEP, ::STEP]
    texts = (np.array([str(item[name]) for item in items]) for name in ("source", "patient_id"))
    label = np.array([item["label"] for item in items], np.float64)
    return Passes(np.abs(residues.astype(np.float32)), probability, opacity, boxed, label, *texts)


def some_of(items: Sequence[Mapping[str, Any]], most: int) -> list[int]:
    """Places of the images of ``SOURCES``, at most so many of each, evenly from the list."""
    chosen: list[int] = []
    for source in SOURCES:
        own = [place for place, item in enumerate(items) if item["source"] == source]
        kept = np.unique(np.linspace(0, len(own) - 1, min(most, len(own))).astype(int))
        chosen += [own[place] for place in kept]
    return chosen


def best_threshold(part: Passes) -> float:
    """|a| above which the pixels of boxed images have the largest Dice with the boxes."""
    strength, opacity = part.strength[0][part.boxed], part.opacity[part.boxed]
    levels = np.quantile(strength[opacity], np.linspace(0.02, 0.9, 45))
    return float(max(levels, key=lambda level: _dice(strength > level, opacity)))


def _dice(marked: NDArray[np.bool_], opacity: NDArray[np.bool_]) -> float:
    return float(2 * (marked & opacity).sum() / max(1, marked.sum() + opacity.sum()))


def uncertainty_maps(part: Passes, normal_spread: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """(N, s, s) by name."""
    mean, std = part.strength.mean(axis=0), part.strength.std(axis=0)
    both = marked_probability(torch.from_numpy(part.strength))
    return {
        "predictive entropy of both passes": predictive_entropy(both).numpy(),
        "predictive entropy of one pass": predictive_entropy(both[:1]).numpy(),
        "standard deviation over the passes": std,
        "standard deviation over mean": std / (mean + 0.02),
        "|a| over its spread on normals": part.strength[0] / normal_spread,
        "|a|": part.strength[0],
    }


def image_numbers(part: Passes) -> dict[str, Floats]:
    """(N,) by name; larger is less certain."""
    both = marked_probability(torch.from_numpy(part.strength)).flatten(2)
    return {
        "disagreement of the passes": np.array([disagreement(both[:, i]) for i in range(both.shape[1])]),
        "mean standard deviation": part.strength.std(axis=0).mean(axis=(1, 2)).astype(np.float64),
        "mean predictive entropy": predictive_entropy(both).mean(dim=1).double().numpy(),
        "less mean |a|": -part.strength[0].mean(axis=(1, 2)).astype(np.float64),
        "entropy of the head": -np.abs(part.probability[0] - 0.5),
    }


def with_interval(statistic: Callable[[Floats], Floats], patients: NDArray[np.str_], num: int) -> dict[str, float]:
    """A statistic of weights (B, N) -> (B,), with its bounds."""
    value = float(statistic(np.ones((1, len(patients))))[0])
    bounds = interval(statistic(patient_weights(patients.tolist(), num).astype(np.float64)))
    return {"value": value, "low": bounds.low, "high": bounds.high, "n": len(patients)}


def pixel_rows(part: Passes, maps: Mapping[str, NDArray[np.float32]], threshold: float, num: int) -> dict[str, Any]:
    """Of boxed images: how well each map finds the wrong pixels."""
    marked = part.strength[0] > threshold
    wrong = marked != part.opacity
    rows: dict[str, Any] = {}
    for name, values in maps.items():
        histograms = pixel_histograms(list(values), list(wrong), 1024)
        inside, outside = histograms.inside.astype(np.float64), histograms.outside.astype(np.float64)

        def auc(weights: Floats, wrong: Floats = inside, right: Floats = outside) -> Floats:
            return np.asarray(histogram_auc(weights @ wrong, weights @ right))

        def kept_error(weights: Floats, wrong: Floats = inside, right: Floats = outside) -> Floats:
            """Share of wrong pixels among the ``KEPT`` part with the smallest uncertainty (the last bins)."""
            bad, all_ = (weights @ wrong)[:, ::-1], (weights @ (wrong + right))[:, ::-1]
            share = all_.cumsum(axis=1) / all_.sum(axis=1, keepdims=True)
            place = (share < KEPT).sum(axis=1).clip(max=share.shape[1] - 1)
            return np.take_along_axis(bad.cumsum(axis=1) / all_.cumsum(axis=1), place[:, None], axis=1)[:, 0]

        within = pixel_histograms([v[m][None] for v, m in zip(values, marked, strict=True)],
                                  [w[m][None] for w, m in zip(wrong, marked, strict=True)], 1024)  # fmt: skip
        in_marked = (within.inside.astype(np.float64), within.outside.astype(np.float64))
        rows[name] = {
            "auc": with_interval(auc, part.patients, num),
            "auc_marked": with_interval(lambda w, pair=in_marked: auc(w, *pair), part.patients, num),
            "kept_error": with_interval(kept_error, part.patients, num),
        }
    rows["all pixels"] = {"error": float(wrong.mean()), "threshold": threshold}
    return rows


def number_rows(part: Passes, threshold: float, num: int) -> dict[str, Any]:
    """How each number of an image goes with what is wrong with it."""
    errors = np.array([1 - _dice(a > threshold, o) for a, o in zip(part.strength[0], part.opacity, strict=True)])
    wrong = (part.probability[0] > 0.5) != (part.label > 0)
    rows = {}
    for name, values in image_numbers(part).items():
        boxed = np.flatnonzero(part.boxed)
        x, y = (stats.rankdata(v[boxed]) for v in (values, errors))

        def correlation(weights: Floats, x: Floats = x, y: Floats = y) -> Floats:
            return np.asarray(weighted_correlation(x, y, weights))

        order = np.argsort(-values, kind="stable")
        hits = wrong[order].astype(np.float64)

        def auc(weights: Floats, order: NDArray[np.intp] = order, hits: Floats = hits) -> Floats:
            return np.asarray(histogram_auc(weights[:, order] * hits, weights[:, order] * (1 - hits)))

        rows[name] = {
            "spearman_dice_error": with_interval(correlation, part.patients[boxed], num),
            "auc_head_wrong": with_interval(auc, part.patients, num),
        }
    return rows


def fit_temperature(probability: Floats, label: Floats) -> float:
    """Temperature of the logit with the smallest cross entropy (Guo et al., ICML 2017)."""
    logit, sign = _logit(probability), 2 * label - 1
    found = optimize.minimize_scalar(
        lambda log_t: np.logaddexp(0, -sign * logit / np.exp(log_t)).mean(), bounds=(-3, 3), method="bounded"
    )
    return float(np.exp(found.x))


def _logit(probability: Floats) -> Floats:
    clipped = np.clip(probability, 1e-7, 1 - 1e-7)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def head_rows(part: Passes, temperature: float, num: int) -> dict[str, Any]:
    """ECE and Brier score of the head as it is, and with the temperature."""
    plain = part.probability[0]
    rows = {}
    for name, p in (("as it is", plain), ("with temperature", 1 / (1 + np.exp(-_logit(plain) / temperature)))):
        bins = np.minimum((p * NUM_ECE_BINS).astype(int), NUM_ECE_BINS - 1)
        member = np.eye(NUM_ECE_BINS)[bins]

        def ece(weights: Floats, gap: Floats = part.label - p, member: Floats = member) -> Floats:
            return np.asarray(np.abs((weights * gap) @ member).sum(axis=1) / weights.sum(axis=1))

        def brier(weights: Floats, square: Floats = (part.label - p) ** 2) -> Floats:
            return np.asarray(weights @ square / weights.sum(axis=1))

        rows[name] = {"ece": with_interval(ece, part.patients, num), "brier": with_interval(brier, part.patients, num)}
    return rows


def main() -> None:
    """Measure, print, and write results.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--decomposer", default=find_weights("bundles/dgm/models"))
    parser.add_argument("--cache_dir", default="output/cache")
    parser.add_argument("--most", type=int, default=100_000, help="test images of each of the two sources with boxes")
    parser.add_argument("--num_bootstrap", type=int, default=1000)
    given = parser.parse_args()
    settings = read_model_settings(given.decomposer)
    size = int(settings["image_size"])
    splits = load_splits(given.dataset_dir, None, fold=int(settings["fold"]), validation_fraction=0.1)
    given.output_dir.mkdir(parents=True, exist_ok=True)
    parts = {}
    for name, items in (("validation", splits.validation), ("test", splits.test)):
        dataset = RadiographDataset(items, size, given.cache_dir)
        places = list(range(len(items))) if name == "validation" else some_of(items, given.most)
        parts[name] = decomposed(dataset, places, given, given.output_dir / f"{name}.npz")
    validation, test = parts["validation"], parts["test"]
    threshold, temperature = best_threshold(validation), fit_temperature(validation.probability[0], validation.label)
    normal = validation.strength[0][validation.label == 0]
    spread = np.sqrt((normal**2).mean(axis=0)) + np.float32(0.01)
    report: dict[str, Any] = {"threshold": threshold, "temperature": temperature}
    for name, part in (("validation", validation), ("test", test)):
        for source in SOURCES:
            own = part.take(np.flatnonzero(part.source == source))
            boxed = own.take(np.flatnonzero(own.boxed))
            maps = uncertainty_maps(boxed, spread)
            report[f"{name}, {source}"] = {
                "pixels": pixel_rows(boxed, maps, threshold, given.num_bootstrap),
                "images": number_rows(own, threshold, given.num_bootstrap),
                "head": head_rows(own, temperature, given.num_bootstrap),
            }
    write_json(given.output_dir / "results.json", report)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
