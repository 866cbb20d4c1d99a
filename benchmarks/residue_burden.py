"""Does the residue burden follow the extent of disease? Radiologists' opacity boxes answer, on images not trained on.

    python benchmarks/residue_burden.py --dataset_dir FOLDER

The threshold of the salient area is fitted on validation images that are normal: the smoothed |a| that a share of their
lung pixels exceeds. On test images: AUC of the burden, opacity against normal, and its rank correlation (Spearman) with
the area of the true boxes within the lungs, 95 % intervals by bootstrap over patients.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.sources import load_splits
from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.engines.pipeline_loading import load_pipeline
from monai_dgm.engines.weights import find_weights, read_model_settings
from monai_dgm.errors import InputError
from monai_dgm.metrics.burden import fit_burden_threshold, residue_burden
from monai_dgm.metrics.intervals import interval, patient_weights
from monai_dgm.transforms.boxes import rasterise_boxes
from monai_dgm.transforms.preparation import PreparedRadiograph
from monai_dgm.transforms.saliency import compute_saliency

Indices = NDArray[np.intp]
Maps = list[tuple[NDArray[np.float32], NDArray[np.bool_]]]


def residues_and_lungs(dataset: RadiographDataset, pipeline: RadiographPipeline) -> Maps:
    """Residue (S, S), 0 in the border, and predicted lung mask (S, S) of each image."""
    maps: Maps = []
    for start in range(0, len(dataset), 32):
        indices = range(start, min(start + 32, len(dataset)))
        images = dataset.images_as_tensor(indices).numpy()
        batch = [PreparedRadiograph(image, dataset.geometries[i]) for i, image in zip(indices, images, strict=True)]
        for result in pipeline.decompose(batch):
            if isinstance(result, InputError):
                raise result
            assert result.residue is not None
            mask = result.prepared.lung_mask
            maps.append((result.residue, np.zeros_like(result.residue, dtype=bool) if mask is None else mask))
    return maps


def burdens(maps: Maps, threshold: float) -> dict[str, NDArray[np.float64]]:
    """Salient share and integrated residue of the lungs of each image."""
    found = []
    for residue, mask in maps:
        salient = compute_saliency(residue, threshold=threshold, lung_mask=mask).mask
        total = residue_burden(residue, salient, mask).total
        found.append((total.salient_share, total.integrated))
    return dict(zip(("salient_share", "integrated_residue"), np.array(found).T, strict=True))


def with_interval(
    statistic: Callable[[Indices], float], patients: Sequence[str], num_bootstrap: int
) -> tuple[float, float, float]:
    """A statistic of the images of some indices, with its bounds."""
    weights = patient_weights(patients, num_bootstrap, seed=0).astype(int)
    everything = np.arange(len(patients))
    samples = [statistic(np.repeat(everything, row)) for row in weights]
    bounds = interval(samples)
    return statistic(everything), bounds.low, bounds.high


def maps_of(
    part: Sequence[dict[str, Any]],
    keep: Callable[[dict[str, Any]], bool],
    size: int,
    cache_dir: str,
    pipeline: RadiographPipeline,
) -> tuple[RadiographDataset, Maps]:
    """The images of a part of the data that ``keep`` accepts, and their maps."""
    dataset = RadiographDataset([item for item in part if keep(item)], size, cache_dir)
    return dataset, residues_and_lungs(dataset, pipeline)


def print_table(test: RadiographDataset, maps: Maps, threshold: float, num_bootstrap: int) -> None:
    """AUC and rank correlation of both burdens as Markdown."""
    opacity = np.array([item["category"] == "lung_opacity" for item in test.items])
    truths = [rasterise_boxes(test.truth(i)["opacity_boxes"], mask.shape) for i, (_, mask) in enumerate(maps)]
    areas = np.array([(truth & mask).sum() / max(1, mask.sum()) for truth, (_, mask) in zip(truths, maps, strict=True)])
    patients = [str(item["patient_id"]) for item in test.items]
    boxed = np.flatnonzero(opacity & (areas > 0))
    numbers = f"{opacity.sum()} opacities, {(~opacity).sum()} normals"
    print(f"| burden | AUC, {numbers} | Spearman with box area, n = {len(boxed)} |\n|---|---|---|")
    for name, values in burdens(maps, threshold).items():

        def auc(indices: Indices, values: NDArray[np.float64] = values) -> float:
            known = opacity[indices]
            return float(roc_auc_score(known, values[indices])) if known.any() and not known.all() else float("nan")

        def rank(indices: Indices, values: NDArray[np.float64] = values) -> float:
            chosen = boxed[indices]
            return float(stats.spearmanr(areas[chosen], values[chosen]).statistic)

        separated = with_interval(auc, patients, num_bootstrap)
        ordered = with_interval(rank, [patients[i] for i in boxed], num_bootstrap)
        cells = ("{:.3f} [{:.3f}, {:.3f}]".format(*numbers) for numbers in (separated, ordered))
        print(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")


def main() -> None:
    """Fit the threshold, print it and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--decomposer", default=find_weights("bundles/dgm/models"))
    parser.add_argument("--lungs", default=find_weights("bundles/lung_segmentation/models"))
    parser.add_argument("--cache_dir", default="output/cache")
    parser.add_argument("--source", default="nih", help="test images of this source with radiologists' labels")
    parser.add_argument("--label_source", default="RSNA radiologists")
    parser.add_argument("--share", type=float, default=0.01, help="of normal lung pixels above the threshold")
    parser.add_argument("--num_bootstrap", type=int, default=1000)
    given = parser.parse_args()
    settings = read_model_settings(given.decomposer)
    pipeline = load_pipeline(given.decomposer, given.lungs)
    splits = load_splits(given.dataset_dir, None, fold=int(settings["fold"]), validation_fraction=0.1)
    rest = (int(settings["image_size"]), given.cache_dir, pipeline)
    _, normal = maps_of(splits.validation, lambda item: item["category"] == "normal", *rest)
    threshold = fit_burden_threshold([residue for residue, _ in normal], [mask for _, mask in normal], given.share)
    print(f"threshold {threshold:.4f}: above it, {given.share:.0%} of the lung pixels of {len(normal)} normals\n")

    def tested(item: dict[str, Any]) -> bool:
        known = item["source"] == given.source and item["label_source"] == given.label_source
        return known and item["category"] != "other_abnormal"

    print_table(*maps_of(splits.test, tested, *rest), threshold, given.num_bootstrap)


if __name__ == "__main__":
    main()
