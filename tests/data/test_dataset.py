"""The data set: items, and the truth on the same geometry and intensities."""

from __future__ import annotations

import pickle
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import Compose, RandFlipd, RandGaussianNoised, Resized
from PIL import Image
from torch.utils.data import DataLoader

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.manifest import load_manifest
from monai_dgm.errors import InputError
from monai_dgm.transforms.boxes import rasterise_boxes
from monai_dgm.transforms.load_radiograph import LoadRadiographd

from .conftest import write_image

Datalist = list[dict[str, Any]]


def test_items(datalist: Datalist, tmp_path: Path) -> None:
    datalist[2]["label"] = 1
    del datalist[5]["label"]
    dataset = RadiographDataset(datalist, 24, tmp_path / "cache")
    assert len(dataset) == len(dataset.items) == len(dataset.geometries) == 6
    item = dataset[2]
    assert set(item) == {"image", "label", "index"} and item["index"] == 2 and item["label"] == 1
    assert type(item["image"]) is torch.Tensor and item["image"].shape == (1, 24, 24)
    assert item["image"].dtype == item["label"].dtype == torch.float32 and item["label"].shape == ()
    assert item["image"].min() == -1 and item["image"].max() == 1
    assert torch.isnan(dataset[5]["label"])
    assert torch.equal(dataset.images_as_tensor([4, 2]), torch.stack([dataset[4]["image"], dataset[2]["image"]]))
    batch = next(iter(DataLoader(dataset, batch_size=4)))
    assert batch["image"].shape == (4, 1, 24, 24) and batch["index"].tolist() == [0, 1, 2, 3]


def test_an_item_may_be_changed_in_place(datalist: Datalist, tmp_path: Path) -> None:
    dataset = RadiographDataset(datalist, 24, tmp_path / "cache")
    before = dataset[0]["image"].clone()
    dataset[0]["image"].zero_()
    assert torch.equal(dataset[0]["image"], before)


def test_an_item_is_cheap(datalist: Datalist, tmp_path: Path) -> None:
    dataset = RadiographDataset(datalist, 128, tmp_path / "cache")
    best = float("inf")
    for _ in range(20):
        begin = time.perf_counter()
        for index in range(6):
            dataset[index]
        best = min(best, (time.perf_counter() - begin) / 6)
    assert best < 100e-6  # some 15 us on an idle core


def random_transform() -> Compose:
    return Compose([RandFlipd("image", prob=0.5, spatial_axis=1), RandGaussianNoised("image", prob=0.5, std=0.1)])


def test_random_transforms_come_after_the_cache_and_follow_the_state_of_numpy(
    datalist: Datalist, tmp_path: Path
) -> None:
    plain = RadiographDataset(datalist, 24, tmp_path / "cache")
    changed = RadiographDataset(datalist, 24, tmp_path / "cache", transform=random_transform())
    np.random.seed(1)
    first = [changed[index]["image"] for index in range(6)]
    state = np.random.get_state()
    second = [changed[index]["image"] for index in range(6)]
    np.random.set_state(state)
    assert all(torch.equal(one, changed[index]["image"]) for index, one in enumerate(second))
    assert not all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert all(type(one) is torch.Tensor and one.dtype == torch.float32 for one in first)
    assert any(not torch.equal(one, plain[index]["image"]) for index, one in enumerate(first))
    assert torch.equal(changed.images_as_tensor([0]), plain.images_as_tensor([0]))


def test_without_transforms_no_random_number_is_drawn(datalist: Datalist, tmp_path: Path) -> None:
    dataset = RadiographDataset(datalist, 24, tmp_path / "cache", transform=Compose([]))
    before = np.random.get_state()[1].copy()
    dataset[0]
    assert np.array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (Resized("image", (12, 12)), r"keep the image's shape \(1, 24, 24\), got \(1, 12, 12\)"),
        (lambda item: {"label": item["label"]}, "got NoneType"),
        (lambda item: {**item, "image": item["image"] * float("nan")}, "finite values of the image"),
    ],
)
def test_a_transform_that_spoils_the_image_is_refused(
    datalist: Datalist, tmp_path: Path, transform: Any, expected: str
) -> None:
    dataset = RadiographDataset(datalist, 24, tmp_path / "cache", transform=transform)
    with pytest.raises(InputError, match=expected):
        dataset[0]


def test_loader_processes_map_the_file_themselves(datalist: Datalist, tmp_path: Path) -> None:
    dataset = RadiographDataset(datalist, 128, tmp_path / "cache")
    text = pickle.dumps(dataset)
    assert len(text) < 30_000
    there = pickle.loads(text)  # noqa: S301 - our own
    assert torch.equal(there[3]["image"], dataset[3]["image"])


def test_bad_files_are_left_out_on_request(datalist: Datalist, tmp_path: Path) -> None:
    Path(datalist[1]["image"]).write_bytes(b"no image")
    with pytest.raises(InputError, match=r"1\.png"):
        RadiographDataset(datalist, 24, tmp_path / "cache")
    dataset = RadiographDataset(datalist, 24, tmp_path / "cache", skip_bad=True)
    assert [item["image_id"] for item in dataset.items] == ["0", "2", "3", "4", "5"]
    assert [Path(path).name for path, _ in dataset.bad] == ["1.png"] and len(dataset.labels) == 5


def test_labels_and_boxes_are_checked(datalist: Datalist, tmp_path: Path) -> None:
    datalist[1]["label"] = 2
    with pytest.raises(InputError, match=r"1\.png: expected a label of 0 \(normal\) or 1 \(abnormal\), got 2"):
        RadiographDataset(datalist, 24, tmp_path / "cache")
    datalist[1].update(label=1, opacity_boxes=np.asarray([[0, 0, 33, 10]], np.float32))
    with pytest.raises(InputError, match=r"1\.png: expected boxes inside the image of 32 x 40 pixels"):
        RadiographDataset(datalist, 24, tmp_path / "cache")


def test_boxes_of_a_larger_original_are_refused(datalist: Datalist, tmp_path: Path) -> None:
    """The image was reduced to 32 x 40 pixels, the manifest and its box were not: the box lies inside, elsewhere."""
    datalist[1].update(label=1, opacity_boxes=np.asarray([[4, 4, 30, 30]], np.float32), shape=(80, 64))
    with pytest.raises(
        InputError, match=r"1\.png: expected \(80, 64\) pixels as its boxes \(rows, cols\), got \(40, 32\)"
    ):
        RadiographDataset(datalist, 24, tmp_path / "cache")
    datalist[1]["shape"] = (40, 32)
    assert len(RadiographDataset(datalist, 24, tmp_path / "cache")) == 6


@pytest.fixture
def with_truth(tmp_path: Path) -> Datalist:
    """One landscape image whose normal is known, with masks and a box; and one with a box alone."""
    generator = np.random.default_rng(0)
    normal = Image.fromarray(generator.integers(60, 120, (4, 5)).astype(np.uint8)).resize(
        (60, 40), Image.Resampling.BICUBIC
    )
    pixels = np.asarray(normal).astype(np.uint16) * 100
    opacity = np.zeros((40, 60), dtype=bool)
    opacity[5:15, 40:56] = True
    lungs = np.zeros((40, 60), dtype=bool)
    lungs[:, 30:] = True
    arrays = {"image": pixels + 4000 * opacity.astype(np.uint16), "normal": pixels}
    arrays |= {"opacity_mask": opacity.astype(np.uint8) * 255, "lung_mask": lungs.astype(np.uint8)}
    item: dict[str, Any] = {"label": 1, "category": "lung_opacity", "image_id": "a", "patient_id": "a"}
    for name, array in arrays.items():
        item[name] = str(tmp_path / f"{name}.png")
        Image.fromarray(array).save(item[name])
    item["opacity_boxes"] = np.asarray([[40, 5, 56, 15]], np.float32)
    alone = {**item, "image": str(write_image(tmp_path / "b.png", 1, 40, 60)), "image_id": "b", "patient_id": "b"}
    for name in ("normal", "opacity_mask", "lung_mask"):
        alone[name] = None
    return [item, alone, {**alone, "category": "other_abnormal"}]


@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_truth_shares_geometry_and_intensities(with_truth: Datalist, tmp_path: Path, fit: str) -> None:
    dataset = RadiographDataset(with_truth, 60, tmp_path / "cache", fit, percentiles=None)
    truth = dataset.truth(0)
    assert set(truth) == {"opacity_boxes", "opacity_mask", "lung_mask", "normal"}
    assert (
        truth["opacity_boxes"].dtype == np.float32 and truth["opacity_mask"].dtype == truth["lung_mask"].dtype == bool
    )
    assert truth["normal"].shape == (1, 60, 60) and truth["normal"].dtype == np.float32
    residue = dataset[0]["image"].numpy() - truth["normal"]
    geometry = dataset.geometries[0]
    inside = truth["opacity_mask"]
    height = 2 * 4000 / (geometry.high - geometry.low)
    assert np.median(residue[0][inside]) == pytest.approx(height, rel=0.02)
    far = ~rasterise_boxes(truth["opacity_boxes"] + np.asarray([-2, -2, 2, 2]), (60, 60))
    assert np.abs(residue[0][far]).max() < 1e-3
    assert (truth["opacity_mask"] == rasterise_boxes(truth["opacity_boxes"], (60, 60))).mean() > 0.99
    assert truth["lung_mask"][30, 30:].all() and not truth["lung_mask"][:, :29].any()


def test_truth_says_only_what_is_known(with_truth: Datalist, tmp_path: Path) -> None:
    dataset = RadiographDataset(with_truth, 60, tmp_path / "cache")
    boxes_alone = dataset.truth(1)
    assert set(boxes_alone) == {"opacity_boxes", "opacity_mask"}
    assert np.array_equal(boxes_alone["opacity_mask"], rasterise_boxes(boxes_alone["opacity_boxes"], (60, 60)))
    assert set(dataset.truth(2)) == {"opacity_boxes"}


@pytest.mark.parametrize("name", ["opacity_mask", "lung_mask", "normal"])
def test_truth_of_another_size_is_refused(with_truth: Datalist, tmp_path: Path, name: str) -> None:
    write_image(Path(with_truth[0][name]), 3, 41, 60)
    dataset = RadiographDataset(with_truth, 60, tmp_path / "cache")
    with pytest.raises(InputError, match=rf"{name}\.png: expected 40 x 60 pixels as its radiograph, got 41 x 60"):
        dataset.truth(0)


@pytest.mark.parametrize("name", ["opacity_mask", "lung_mask", "normal"])
def test_truth_that_lies_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    values = np.arange(1200, dtype=np.float32).reshape(40, 30)
    for file, affine in (("image", np.diag([-1, -1, 1, 1])), (name, np.diag([1, -1, 1, 1]))):
        nibabel.Nifti1Image(values, affine).to_filename(tmp_path / f"{file}.nii")
    item = {"image": str(tmp_path / "image.nii"), name: str(tmp_path / f"{name}.nii")}
    dataset = RadiographDataset([item], 32, tmp_path / "cache")
    with pytest.raises(InputError, match=rf"{name}\.nii: expected the affine of its radiograph"):
        dataset.truth(0)
    if name == "lung_mask":
        with pytest.raises(InputError, match=r"lung_mask\.nii: expected the affine of its radiograph"):
            LoadRadiographd("image", 32, lung_mask_key=name)(item)


def test_rasterised_boxes() -> None:
    mask = rasterise_boxes(np.asarray([[2, 3, 5, 4]], np.float32), (8, 8))
    assert mask.sum() == 3 and mask[3, 2:5].all()
    assert not rasterise_boxes(np.zeros((0, 4), np.float32), (8, 8)).any()
    for tiny in ([6.6, 0.1, 6.9, 0.2], [7.9, 7.9, 8.0, 8.0], [0, 0, 0.1, 0.1]):
        mask = rasterise_boxes(np.asarray([tiny]), (8, 8))
        assert mask.sum() == 1 and mask[int(tiny[1]), int(tiny[0])]


def test_simulated_truth(sample_dir: Path, tmp_path: Path) -> None:
    """On the embedded sample, the residue image - normal is where the opacity mask says, and nothing on normals."""
    datalist = load_manifest(sample_dir)
    dataset = RadiographDataset(datalist, 64, tmp_path / "cache")
    for index, item in enumerate(dataset.items):
        truth = dataset.truth(index)
        residue = np.abs(dataset[index]["image"].numpy() - truth["normal"])[0]
        if item["label"] == 0:
            assert residue.max() < 1e-3
        elif "opacity_mask" in truth and truth["opacity_mask"].any():
            assert residue[truth["opacity_mask"]].mean() > 3 * residue[~truth["opacity_mask"]].mean()
