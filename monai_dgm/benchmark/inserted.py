"""Opacities inserted into real normal radiographs: exact truth in a real image.

Two kinds. *Real* opacities come from boxes of the training folds and are moved to the same place in another patient's
lungs by Poisson blending. *Rendered* ones come from the simulator: the residue of a simulated patient, brought from
that patient's lung box to this one's. The simulator shares no code with the opacities that any training here
superimposes; the blending is the one that ``boxes.json`` trains with, which favours it on the real kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from monai_dgm.benchmark.test_sets import FloatArray, TestSet, limited
from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.simulator.simulate import RESIDUE_THRESHOLD, simulate_radiograph
from monai_dgm.transforms.boxes import box_of_mask, rasterise_boxes
from monai_dgm.transforms.lung_opacity import transplant

__all__ = ["Donor", "find_donors", "insert_opacities"]

LEAST_PIXELS = 6
LEAST_RESIDUE = 0.08  # mean within the area on the [-1, 1] scale; fainter ones are drawn anew
TRIES = 12
SIMULATED_SIZE = 128


class Donor:
    """A training image and its boxes.

    Args:
        image: (S, S) in [-1, 1].
        boxes: (N, 4) in pixels.
        lung_box: (4,) in pixels.
        source: of the image.
    """

    def __init__(self, image: FloatArray, boxes: FloatArray, lung_box: FloatArray, source: str) -> None:
        self.image = image
        self.boxes = boxes
        self.lung_box = lung_box
        self.source = source


def find_donors(
    items: Sequence[dict[str, Any]], size: int, cache_dir: Any, lung_box: Any, count: int, seed: int = 0
) -> list[Donor]:
    """Training images with opacities in boxes, at most ``count`` of each source.

    Args:
        items: of the training folds.
        size: side S.
        cache_dir: of the prepared images.
        lung_box: (data set, index) -> (4,) lung box in pixels.
        count: of each source.
        seed: of the draw.
    """
    boxed = [item for item in items if len(item.get("opacity_boxes", ()))]
    if not boxed:
        return []
    dataset = RadiographDataset(limited(boxed, count, seed), size, cache_dir)
    donors = []
    for index, item in enumerate(dataset.items):
        image = dataset.images_as_tensor([index])[0, 0].numpy()
        boxes = dataset.truth(index)["opacity_boxes"]
        donors.append(Donor(image, boxes, lung_box(dataset, index), str(item.get("source"))))
    return donors


def insert_opacities(normals: TestSet, donors: Sequence[Donor], seed: int = 0) -> TestSet:
    """Put one real and one rendered opacity into each normal image; those that stay too faint are left out.

    Args:
        normals: real normal radiographs with lung boxes.
        donors: of the training folds; real opacities come from the image's own source where it has donors.
        seed: of all draws.
    """
    rng = np.random.default_rng(seed)
    found: list[tuple[int, FloatArray, str]] = []
    for index in range(len(normals)):
        pool = [d for d in donors if d.source == normals.sources[index]] or list(donors)
        image, box = normals.images[index], normals.lung_boxes[index]
        if pool:
            real = _first_clear(image, lambda: _transplanted(image, box, pool[rng.integers(len(pool))], rng))  # noqa: B023
            found += [] if real is None else [(index, real, "real")]
        rendered = _first_clear(image, lambda: _rendered(image, box, int(rng.integers(1 << 30))))  # noqa: B023
        found += [] if rendered is None else [(index, rendered, "rendered")]
    chosen = [index for index, _, _ in found]
    before = normals.images[chosen]
    images = np.stack([image for _, image, _ in found]) if found else before
    return TestSet(
        name="inserted",
        images=images,
        normals=before,
        areas=np.abs(images - before) > RESIDUE_THRESHOLD,
        labels=np.ones(len(found), np.int64),
        complete=np.ones(len(found), bool),
        patients=normals.patients[chosen],
        sources=normals.sources[chosen],
        kinds=np.array([kind for _, _, kind in found], dtype=np.str_),
        lung_boxes=normals.lung_boxes[chosen],
    )


def _first_clear(image: FloatArray, draw: Any) -> FloatArray | None:
    """The first drawn image whose opacity can be seen; None after :data:`TRIES`."""
    for _ in range(TRIES):
        changed = draw()
        if changed is None:
            continue
        residue = changed - image
        area = np.abs(residue) > RESIDUE_THRESHOLD
        if area.sum() >= LEAST_PIXELS and residue[area].mean() >= LEAST_RESIDUE:
            return np.asarray(changed, dtype=np.float32)
    return None


def _transplanted(image: FloatArray, lung_box: FloatArray, donor: Donor, rng: np.random.Generator) -> FloatArray | None:
    """One box of a donor at the same place relative to the lungs."""
    box = donor.boxes[rng.integers(len(donor.boxes))]
    centre = (box[:2] + box[2:]) / 2
    share = (centre - donor.lung_box[:2]) / np.maximum(donor.lung_box[2:] - donor.lung_box[:2], 1)
    aim = lung_box[:2] + np.clip(share, 0.1, 0.9) * (lung_box[2:] - lung_box[:2])
    dx, dy = (int(v) for v in np.rint(aim - centre))
    size = image.shape[-1]
    moved = np.array([box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy])
    if (moved[:2] < 1).any() or (moved[2:] > size - 1).any():
        return None
    shifted = ndimage.shift(donor.image, (dy, dx), order=0, mode="nearest")
    inside = rasterise_boxes(moved[None].astype(np.float32), (size, size))
    planes = [torch.from_numpy(np.ascontiguousarray(plane))[None, None] for plane in (image, shifted, inside)]
    changed, _ = transplant(planes[0].float(), planes[1].float(), planes[2])
    return changed[0, 0].numpy()


def _rendered(image: FloatArray, lung_box: FloatArray, seed: int) -> FloatArray | None:
    """The residue of a simulated patient in this patient's lungs."""
    shot = simulate_radiograph(seed, SIMULATED_SIZE, abnormal=True)
    theirs: NDArray[np.float32] | None = box_of_mask(shot.lung_mask)
    if theirs is None or shot.category != "lung_opacity":
        return None
    size = image.shape[-1]
    scale = (theirs[2:] - theirs[:2]) / np.maximum(lung_box[2:] - lung_box[:2], 1)
    x = theirs[0] + (np.arange(size) + 0.5 - lung_box[0]) * scale[0] - 0.5
    y = theirs[1] + (np.arange(size) + 0.5 - lung_box[1]) * scale[1] - 0.5
    at = np.meshgrid(y, x, indexing="ij")
    residue = ndimage.map_coordinates(np.where(shot.opacity_mask, shot.residue, 0), at, order=1, mode="constant")
    return np.clip(image + residue.astype(np.float32), -1, 1)
