"""Items of a training with boxes: planes where boxes and lungs are, of masks or of a segmentor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.truth_dataset import TruthDataset, training_dataset

SIDE = 64


def write(folder: Path, name: str, array: np.ndarray) -> str:
    path = folder / name
    Image.fromarray(array).save(path)
    return str(path)


def datalist(folder: Path) -> list[dict[str, Any]]:
    """Two images of 128 pixels: one with a box and a lung mask, a normal one without a mask."""
    rng = np.random.default_rng(0)
    images = [write(folder, f"{i}.png", rng.integers(0, 255, (128, 128), dtype=np.uint8)) for i in range(2)]
    lung = np.zeros((128, 128), np.uint8)
    lung[40:100, 20:60] = 255
    common = {"source": None, "label_source": "reader"}
    return [
        {
            "image": images[0], "patient_id": "a", "label": 1, "category": "lung_opacity", **common,
            "opacity_boxes": np.array([[20, 40, 52, 56]], np.float32), "lung_mask": write(folder, "lung.png", lung),
        },
        {
            "image": images[1], "patient_id": "b", "label": 0, "category": "normal", **common,
            "opacity_boxes": np.zeros((0, 4), np.float32), "lung_mask": None,
        },
    ]  # fmt: skip


def test_items_say_where_boxes_and_lungs_are(tmp_path: Path) -> None:
    data = TruthDataset(datalist(tmp_path), SIDE, tmp_path / "cache")
    boxed, normal = data[0], data[1]
    weight = boxed["box_weight"]
    assert weight.shape == (1, SIDE, SIDE) and (weight[0, 20:28, 10:26] > 0).all()
    assert (weight > 0).sum() == 8 * 16
    assert bool(boxed["complete"]) and int(boxed["category"]) == 1
    lungs = boxed["lungs"][0]
    assert (lungs[20:50, 10:30] == 1).all() and lungs.sum() == 30 * 20
    assert not normal["box_weight"].any() and not normal["complete"] and not normal["lungs"].any()
    assert normal["image"].shape == (1, SIDE, SIDE) and float(normal["label"]) == 0


def test_a_segmentor_finds_lungs_where_nobody_drew_any(tmp_path: Path) -> None:
    asked = []

    def find_lungs(image: torch.Tensor) -> np.ndarray:
        asked.append(tuple(image.shape))
        found = np.zeros((len(image), SIDE, SIDE), bool)
        found[:, 5:10] = True
        return found

    data = TruthDataset(datalist(tmp_path), SIDE, tmp_path / "cache", find_lungs)
    assert asked == [(1, 1, SIDE, SIDE)]
    assert data[1]["lungs"][0, 5:10].all() and data[1]["lungs"].sum() == 5 * SIDE
    assert data[0]["lungs"].sum() == 30 * 20


def test_labels_alone_hide_every_box(tmp_path: Path) -> None:
    data = TruthDataset(datalist(tmp_path), SIDE, tmp_path / "cache", with_boxes=False)
    assert not data[0]["box_weight"].any() and not data[0]["complete"]
    assert data[0]["lungs"].any() and int(data[0]["category"]) == 1  # an image-level label


def test_lungs_of_a_known_segmentor_are_found_once(tmp_path: Path) -> None:
    class Finder:
        def __init__(self, fingerprint: str) -> None:
            self.fingerprint = fingerprint
            self.asked = 0

        def __call__(self, image: torch.Tensor) -> np.ndarray:
            self.asked += 1
            found = np.zeros((len(image), SIDE, SIDE), bool)
            found[:, 5:10] = True
            return found

    first, again, other = Finder("a"), Finder("a"), Finder("b")
    planes = [TruthDataset(datalist(tmp_path), SIDE, tmp_path / "cache", f)[1]["lungs"] for f in (first, again, other)]
    assert (first.asked, again.asked, other.asked) == (1, 0, 1)
    assert torch.equal(planes[0], planes[1]) and planes[0].sum() == 5 * SIDE


def test_a_training_has_the_planes_of_boxes_where_it_learns_from_them(tmp_path: Path) -> None:
    items = datalist(tmp_path)
    plain = training_dataset(items, 32, tmp_path, "labels")
    boxed = training_dataset(items, 32, tmp_path, "boxes")
    assert type(plain) is RadiographDataset and type(boxed) is TruthDataset
    assert plain[0].keys() == {"image", "label", "index"} < boxed[0].keys()
    assert torch.equal(plain[0]["image"], boxed[0]["image"])
