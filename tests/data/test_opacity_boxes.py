"""Which images a detector may learn from, and its data set: boxes in model coordinates, no box as (0, 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.decomposed import DecomposedDataset
from monai_dgm.data.manifest import load_manifest
from monai_dgm.data.opacity_boxes import OpacityBoxDataset, collate_boxes, known_opacities, opacity_splits
from monai_dgm.data.sources import Splits
from monai_dgm.errors import InputError

BOX = np.array([[4.0, 8.0, 20.0, 30.0]], dtype=np.float32)
NONE = np.zeros((0, 4), dtype=np.float32)


def item(category: str, source: str | None, boxes: np.ndarray = NONE) -> dict[str, Any]:
    return {"image": f"{category}-{source}", "category": category, "label_source": source, "opacity_boxes": boxes}


def test_who_draws_boxes_has_looked_for_opacities() -> None:
    datalist = [
        item("lung_opacity", "radiologists", BOX),
        item("normal", "radiologists"),
        item("other_abnormal", "radiologists"),
        item("lung_opacity", "radiologists"),  # nobody knows where
        item("lung_opacity", "text"),
        item("normal", "text"),  # reports do not look for what radiologists mark
        item("other_abnormal", "tuberculosis or normal"),
    ]
    assert [one["image"] for one in known_opacities(datalist)] == [one["image"] for one in datalist[:3]]


def test_without_label_sources_all_labels_are_of_one() -> None:
    datalist = [item("lung_opacity", None, BOX), item("normal", None), item("other_abnormal", None)]
    assert len(known_opacities(datalist)) == 3
    assert known_opacities(datalist[1:]) == []


def test_splits_share_what_is_known_of_the_readers() -> None:
    boxed, normal = item("lung_opacity", "r", BOX), item("normal", "r")
    chosen = opacity_splits(Splits([boxed, normal], [boxed], [normal, item("normal", "t")], "words"))
    assert (len(chosen.training), len(chosen.validation), len(chosen.test)) == (2, 1, 1)
    assert chosen.description == "words"
    with pytest.raises(InputError, match="validation: expected images with opacity_boxes, none of 1 has one"):
        opacity_splits(Splits([boxed], [normal], [], ""))
    with pytest.raises(InputError, match="training: expected images with opacity_boxes"):
        opacity_splits(Splits([normal], [boxed], [], ""))


def test_few_boxed_images_are_part_of_more_and_images_without_boxes_stay() -> None:
    boxed = [item("lung_opacity", "r", BOX) | {"image": str(index)} for index in range(20)]
    normal = item("normal", "r")
    splits = Splits([*boxed, normal], boxed[:1], boxed[:2], "")
    few, more, other = (opacity_splits(splits, count, seed) for count, seed in ((5, 0), (12, 0), (5, 1)))
    named = [{one["image"] for one in part.training if len(one["opacity_boxes"])} for part in (few, more, other)]
    assert [len(names) for names in named] == [5, 12, 5]
    assert named[0] < named[1] and named[0] != named[2]
    assert all(len(part.training) == len(names) + 1 for part, names in zip((few, more, other), named, strict=True))
    assert (len(few.validation), len(few.test)) == (1, 2)
    for count in (0, 21):
        with pytest.raises(InputError, match=rf"expected 1 to 20, .*got {count}"):
            opacity_splits(splits, count)


def test_embedded_sample_is_known_throughout(sample_dir: Path) -> None:
    datalist = load_manifest(sample_dir)
    assert len(known_opacities(datalist)) == len(datalist)


@pytest.mark.filterwarnings("ignore:.*upright_ok")
def test_real_data_counts_only_what_radiologists_read(real_data: Path) -> None:
    datalist = load_manifest(real_data / "cxr")
    known = known_opacities(datalist)
    assert {one["label_source"] for one in known} == {"RSNA radiologists", "SIIM-FISABIO radiologists"}
    boxed = [one for one in known if len(one["opacity_boxes"])]
    assert len(boxed) == sum(len(one["opacity_boxes"]) > 0 for one in datalist) == 3962  # one of 3,963 is upside down
    normal = [one for one in known if one["category"] == "normal"]
    assert len(normal) == 1198 + 128 + 1491 and len(known) == len(boxed) + len(normal) + 305  # 305 of another finding


def test_data_set_and_batches(datalist: list[dict[str, Any]], tmp_path: Path) -> None:
    datalist[1]["opacity_boxes"] = BOX  # on 40 x 32 pixels
    dataset = OpacityBoxDataset(DecomposedDataset(RadiographDataset(datalist, 80, tmp_path), None, ("image",)))
    assert dataset.has_boxes == [0, 1, 0, 0, 0, 0] and dataset.size == 80 and dataset.channels == ("image",)
    assert dataset[0]["boxes"].shape == (0, 4) and dataset[0]["boxes"].dtype == torch.float32
    # twice as large, in the middle of the square
    np.testing.assert_allclose(dataset[1]["boxes"], [[2 * 4 + 8, 16, 2 * 20 + 8, 60]])
    batch = collate_boxes([dataset[0], dataset[1]])
    assert batch["image"].shape == (2, 1, 80, 80) and batch["index"].tolist() == [0, 1]
    assert [len(boxes) for boxes in batch["boxes"]] == [0, 1]
