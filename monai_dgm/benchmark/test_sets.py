"""The test images of all systems: simulated ones, real normals with inserted opacities, and real ones with boxes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.manifest import load_manifest
from monai_dgm.data.simulator.sample import write_sample
from monai_dgm.data.sources import FindLungs, lung_box_of
from monai_dgm.transforms.boxes import rasterise_boxes
from monai_dgm.utils.atomic import atomic_write

__all__ = ["TestSet", "limited", "real_images", "simulated_images"]

FloatArray = NDArray[np.float32]
WHOLE = (0.1, 0.1, 0.9, 0.9)  # of the side: the lung box of an image without found lungs


@dataclass(frozen=True, eq=False)
class TestSet:
    """N test images of side S with what is known of them.

    Attributes:
        name: "simulator", "inserted" or "real".
        images: z, float32 (N, S, S) in [-1, 1].
        normals: true normal images, float32 (N, S, S); shape (0,) where they are not known.
        areas: bool (N, S, S), where opacities are: pixels of a true residue, or inside boxes.
        labels: (N,) 0 normal, 1 abnormal.
        complete: bool (N,), whether ``areas`` holds all opacities of an abnormal image.
        patients, sources: (N,) text.
        kinds: (N,) text: how an opacity came into the image; "" for none.
        lung_boxes: float32 (N, 4) in pixels.
    """

    __test__ = False  # not a test of pytest

    name: str
    images: FloatArray
    normals: FloatArray
    areas: NDArray[np.bool_]
    labels: NDArray[np.int64]
    complete: NDArray[np.bool_]
    patients: NDArray[np.str_]
    sources: NDArray[np.str_]
    kinds: NDArray[np.str_]
    lung_boxes: FloatArray

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    @property
    def key(self) -> str:
        """SHA-256 of the images and their truth, of which results of a system are results."""
        digest = hashlib.sha256(self.name.encode())
        for field in fields(self)[1:]:
            digest.update(np.ascontiguousarray(getattr(self, field.name)).tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write as ``.npz``, atomically."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        with atomic_write(path) as partial, open(partial, "wb") as stream:
            np.savez_compressed(stream, **values)

    @classmethod
    def load(cls, path: Path) -> TestSet:
        """Read what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as values:
            return cls(**{field.name: values[field.name] for field in fields(cls)[1:]}, name=str(values["name"]))


def limited(items: Sequence[dict[str, Any]], count: int | None, seed: int = 0) -> list[dict[str, Any]]:
    """At most ``count`` random images of each kind (normal, with boxes, others) of each source, in their order."""
    if count is None:
        return list(items)
    groups: dict[tuple[str, int, bool], list[int]] = {}
    for index, item in enumerate(items):
        has_truth = len(item.get("opacity_boxes", ())) > 0 or bool(item.get("opacity_mask"))
        groups.setdefault((str(item.get("source")), int(item["label"]), has_truth), []).append(index)
    rng = np.random.default_rng(seed)
    kept = {i for members in groups.values() for i in rng.permutation(members)[:count].tolist()}
    return [item for index, item in enumerate(items) if index in kept]


def described(dataset: RadiographDataset, name: str, find_lungs: FindLungs | None, exact: bool = False) -> TestSet:
    """A test set of all images of a data set.

    Args:
        dataset: prepared radiographs.
        name: of the test set.
        find_lungs: for images without a lung mask.
        exact: takes areas and normals of the true normal images, which all images need then.
    """
    count, size = len(dataset), dataset.images.shape[-1]
    areas, normals = np.zeros((count, size, size), bool), np.zeros((count, size, size) if exact else 0, np.float32)
    boxes = np.tile(np.array(WHOLE, np.float32) * size, (count, 1))
    complete = np.zeros(count, bool)
    images = dataset.images_as_tensor(range(count))[:, 0].numpy()
    for index in range(count):
        truth = dataset.truth(index)
        found = lung_box_of(dataset, index, truth, find_lungs)
        boxes[index] = boxes[index] if found is None else found
        if exact:
            normals[index] = truth["normal"][0]
        if "opacity_mask" in truth:
            areas[index] = truth["opacity_mask"]
        elif len(truth["opacity_boxes"]):
            areas[index] = rasterise_boxes(truth["opacity_boxes"], (size, size))
        complete[index] = areas[index].any()
    labels = np.array([int(item["label"]) for item in dataset.items])
    return TestSet(
        name=name,
        images=images,
        normals=normals,
        areas=areas,
        labels=labels,
        complete=complete,
        patients=np.array([str(item.get("patient_id") or i) for i, item in enumerate(dataset.items)]),
        sources=np.array([str(item.get("source") or "unknown") for item in dataset.items]),
        kinds=np.array(["abnormal" if label else "" for label in labels]),
        lung_boxes=boxes,
    )


def simulated_images(folder: Path, num_patients: int, size: int, cache_dir: Path) -> TestSet:
    """Simulated radiographs, of other patients than the embedded sample's: seed 9."""
    sample = write_sample(folder, num_patients=num_patients, size=size, seed=9)
    return described(RadiographDataset(load_manifest(sample), size, cache_dir), "simulator", None, exact=True)


def real_images(
    items: Sequence[dict[str, Any]], size: int, cache_dir: Path, find_lungs: FindLungs | None, count: int | None
) -> TestSet:
    """The images of the test fold, with boxes where readers drew them."""
    return described(RadiographDataset(limited(items, count), size, cache_dir), "real", find_lungs)
