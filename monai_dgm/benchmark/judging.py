"""From finished trainings to judged systems: test sets, predictions, scores, references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from monai_dgm.benchmark.features import FeatureNetwork
from monai_dgm.benchmark.inserted import find_donors, insert_opacities
from monai_dgm.benchmark.judge import Prediction, predictions_of, unchanged
from monai_dgm.benchmark.presets import Preset
from monai_dgm.benchmark.realism import Probe, fit_probe, realism_metrics
from monai_dgm.benchmark.results import REALISM, Judged
from monai_dgm.benchmark.scores import CellScores, map_scores, measure
from monai_dgm.benchmark.systems import UNCHANGED, System
from monai_dgm.benchmark.test_sets import WHOLE, TestSet, limited, real_images, simulated_images
from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.sources import Baselines, FindLungs, Splits, fit_baselines, lung_box_of

__all__ = ["Bench", "judge_systems", "make_bench"]


@dataclass(frozen=True, eq=False)
class Bench:
    """What every system is judged on.

    Attributes:
        test_sets: "simulator", "inserted" (where a normal image could take an opacity) and "real".
        baselines: priors of the training folds.
        features: the network of features, or None.
        real_features: of the real test images, (N, F).
        probe: the classifier of diagnoses, or None.
    """

    test_sets: Mapping[str, TestSet]
    baselines: Baselines
    features: FeatureNetwork | None
    real_features: Any
    probe: Probe | None


def make_bench(
    splits: Splits, preset: Preset, folder: Path, cache_dir: Path, find_lungs: FindLungs | None, features: Any
) -> Bench:
    """Build the test sets and the priors.

    Args:
        splits: of the test fold.
        preset: sizes.
        folder: gets the simulated images, and the test sets as files.
        cache_dir: of prepared images.
        find_lungs: a lung segmentor.
        features: a :class:`monai_dgm.benchmark.features.FeatureNetwork`, or None.
    """
    size = preset.image_size
    real = real_images(splits.test, size, cache_dir, find_lungs, preset.test_images)
    normals = np.flatnonzero(real.labels == 0)
    values = {name: value[normals] for name, value in vars(real).items() if name not in ("name", "normals")}
    donors = find_donors(splits.training, size, cache_dir, partial(_lung_box, find_lungs, size), preset.donors)
    inserted = insert_opacities(TestSet(name="real", normals=real.normals, **values), donors)
    simulated = simulated_images(folder / "simulated", preset.simulated_patients, size, cache_dir)
    test_sets = {"simulator": simulated, "inserted": inserted, "real": real}
    test_sets = {name: test_set for name, test_set in test_sets.items() if len(test_set)}
    training = RadiographDataset(limited(splits.training, preset.donors), size, cache_dir)
    baselines = fit_baselines(training, find_lungs=find_lungs)
    for name, test_set in test_sets.items():
        test_set.save(folder / f"{name}.npz")
    if features is None:
        return Bench(test_sets, baselines, None, np.zeros((len(real), 0), np.float32), None)
    shown = RadiographDataset(limited(splits.training, preset.probe_images), size, cache_dir)
    images = shown.images_as_tensor(range(len(shown)))[:, 0].numpy()
    probe = fit_probe(features(images), shown.labels.numpy().astype(np.int64))
    return Bench(test_sets, baselines, features, features(real.images), probe)


def _lung_box(find_lungs: FindLungs | None, size: int, dataset: RadiographDataset, index: int) -> Any:
    found = lung_box_of(dataset, index, dataset.truth(index), find_lungs)
    return np.array(WHOLE, np.float32) * size if found is None else found


def judge_systems(
    systems: Sequence[System], weights: Mapping[tuple[str, int], Path], bench: Bench, folder: Path
) -> list[Judged]:
    """Run every file of weights over the test sets; references come last.

    Args:
        systems: in the order of the tables.
        weights: (name, seed) -> file; seed -1 for weights that were not trained here.
        bench: the test sets.
        folder: keeps predictions.
    """
    judged = []
    for system in systems:
        cells = {}
        for (name, seed), path in weights.items():
            if name == system.name:
                print(f"judging {system.title}" + ("" if seed < 0 else f", seed {seed}"), flush=True)
                cells[seed] = _cells(bench, predictions_of(path, bench.test_sets, bench.features, folder))
        if cells:
            judged.append(Judged(system.name, system.title, system.supervision, cells))
    return [*judged, *_references(bench)]


def _cells(bench: Bench, predictions: Mapping[str, Prediction]) -> dict[str, Any]:
    cells: dict[str, Any] = {n: measure(bench.test_sets[n], p) for n, p in predictions.items()}
    realism = realism_metrics(bench.test_sets["real"], bench.real_features, predictions["real"], bench.probe)
    return {**cells, REALISM: lambda index: realism}  # of all images


def _references(bench: Bench) -> list[Judged]:
    """The radiograph as it is, and the priors that do not look at it."""
    found = [Judged(UNCHANGED, "radiograph unchanged", "none", {-1: _cells(bench, _same(bench))}, True)]
    shown = bench.baselines
    maps: dict[str, dict[str, CellScores]] = {"mean_box_prior": {}, "lung_aligned_prior": {}}
    for name, test_set in bench.test_sets.items():
        if name == "simulator":
            continue
        size = test_set.images.shape[-1]
        if shown.mean_box_prior is not None:
            prior = np.asarray(shown.mean_box_prior, np.float32)
            maps["mean_box_prior"][name] = map_scores(test_set, lambda _, prior=prior: prior)  # type: ignore[misc]
        if shown.aligned_prior is not None:
            place = shown.aligned_prior.place
            boxes = test_set.lung_boxes
            maps["lung_aligned_prior"][name] = map_scores(
                test_set,
                lambda i, boxes=boxes, place=place, size=size: place(boxes[i], (size, size)),  # type: ignore[misc]
            )
    titles = {"mean_box_prior": "prior: mean box", "lung_aligned_prior": "prior: aligned to the lungs"}
    for name, scores in maps.items():
        if scores:
            found.append(Judged(name, titles[name], "boxes", {-1: dict(scores)}, True))
    return found


def _same(bench: Bench) -> dict[str, Prediction]:
    """y' = z; its features are known already for the real images."""
    found = unchanged({n: s for n, s in bench.test_sets.items() if n != "real"}, None)
    real = unchanged({"real": bench.test_sets["real"]}, None)["real"]
    return {**found, "real": replace(real, features=bench.real_features)}
