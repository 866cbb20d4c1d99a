"""Labels of a task, splits that can be trained on, and the decomposer whose residues are used."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from monai_dgm.data.manifest import load_manifest
from monai_dgm.data.sources import Splits
from monai_dgm.engines import classification_data as data
from monai_dgm.engines.checkpoint import save_weights
from monai_dgm.errors import InputError
from monai_dgm.networks.decomposer import Decomposer

CATEGORIES = ("normal", "lung_opacity", "other_abnormal", "normal")


def datalist(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "image": f"{i}.png",
            "image_id": str(i),
            "patient_id": f"p{i // 2}",
            "category": CATEGORIES[i % 4],
            "label": int(CATEGORIES[i % 4] != "normal"),
        }
        for i in range(first, first + count)
    ]


def splits(training: int = 40) -> Splits:
    return Splits(datalist(training), datalist(8, 1000), datalist(8, 2000), "a test")


def write_decomposer(folder: Path, **settings: Any) -> Path:
    folder.mkdir(exist_ok=True)
    save_weights(Decomposer(base_width=2, num_res_blocks=1).state_dict(), folder / "model.pt")
    known = {"image_size": 32, "base_width": 2, "num_res_blocks": 1, **settings}
    (folder / "model.json").write_text(json.dumps(known))
    return folder / "model.pt"


def test_labels_of_the_tasks() -> None:
    items = datalist(4)
    assert [item["label"] for item in data.task_datalist(items, "abnormality")] == [0, 1, 1, 0]
    assert [item["label"] for item in data.task_datalist(items, "opacity")] == [0, 1, 0, 0]
    assert [item["label"] for item in items] == [0, 1, 1, 0]  # the data itself is left alone


def test_what_a_task_cannot_label_is_named() -> None:
    with pytest.raises(InputError, match="task: expected one of abnormality, opacity, got 'pneumonia'"):
        data.task_datalist(datalist(1), "pneumonia")
    with pytest.raises(InputError, match=r"0\.png: expected a category for the task opacity, got none"):
        data.task_datalist([{"image": "0.png", "label": 1}], "opacity")
    with pytest.raises(InputError, match=r"0\.png: expected a label for the task abnormality"):
        data.task_datalist([{"image": "0.png"}], "abnormality")


def test_few_normals_are_kept_with_all_others_and_the_other_splits_untouched() -> None:
    whole = data.task_splits(splits(), "abnormality")
    few = data.task_splits(splits(), "abnormality", max_normals=5, seed=1)
    assert sum(item["label"] == 0 for item in whole.training) == 20
    assert sum(item["label"] == 0 for item in few.training) == 5
    assert [i for i in few.training if i["label"]] == [i for i in whole.training if i["label"]]
    assert few.validation == whole.validation and few.test == whole.test
    assert few.description == "a test, with 5 images without abnormal to train on"
    again, other = (data.task_splits(splits(), "abnormality", 5, seed).training for seed in (1, 2))
    assert again == few.training != other
    assert data.task_splits(splits(), "abnormality", 1000).training == whole.training


def test_images_of_a_patient_are_kept_together_as_far_as_the_number_allows() -> None:
    both = [{**item, "label": 0, "category": "normal"} for item in datalist(20)] + datalist(4, 100)
    kept = data.task_splits(Splits(both, datalist(8, 1000), [], ""), "abnormality", max_normals=6).training
    patients = [item["patient_id"] for item in kept if item["label"] == 0]
    assert len(patients) == 6 and len(set(patients)) == 3 + any(name in patients for name in ("p50", "p51"))


@pytest.mark.parametrize(("part", "keep"), [("training", 0), ("training", 1), ("validation", 0), ("validation", 1)])
def test_a_split_of_one_label_is_named(part: str, keep: int) -> None:
    whole = splits()
    parts = {"training": whole.training, "validation": whole.validation, "test": whole.test, "description": ""}
    parts[part] = [item for item in parts[part] if item["label"] == keep]
    lacking = "abnormal" if keep == 0 else "normal"
    with pytest.raises(InputError, match=f"{part}: expected images of both labels .* got no {lacking} one"):
        data.task_splits(Splits(**parts), "abnormality")  # type: ignore[arg-type]


def test_who_needs_a_decomposer() -> None:
    assert not data.needs_decomposer(["image"])
    assert data.needs_decomposer(["residue"]) and data.needs_decomposer(["image"], twin_prob=0.5)
    with pytest.raises(InputError, match="channels"):
        data.needs_decomposer(["saliency"])


def test_shipped_weights_come_before_trained_ones(tmp_path: Path) -> None:
    assert data.find_weights(tmp_path) == str(tmp_path / "model.pt")
    (tmp_path / "model.safetensors").touch()
    assert data.find_weights(tmp_path) == str(tmp_path / "model.safetensors")


def test_decomposer_is_frozen_and_sized_by_its_settings(tmp_path: Path) -> None:
    network = data.load_decomposer(write_decomposer(tmp_path))
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    assert network(torch.zeros(1, 1, 32, 32)).shape == (1, 3, 32, 32)
    with pytest.raises(InputError, match=r"none\.pt: expected the weights of a decomposer"):
        data.load_decomposer(tmp_path / "none.pt")


def test_another_decomposer_than_in_training_is_refused(tmp_path: Path) -> None:
    one, other = write_decomposer(tmp_path / "one"), write_decomposer(tmp_path / "other")
    settings = {"decomposer_sha256": data.decomposer_sha256(one, ["image", "residue"])}
    data.check_decomposer(settings, one)
    for wrong in (other, tmp_path / "none.pt"):
        with pytest.raises(InputError, match="expected the decomposer that the classifier was trained with"):
            data.check_decomposer(settings, wrong)
    assert data.decomposer_sha256(tmp_path / "none.pt", ["image"]) is None
    data.check_decomposer({"decomposer_sha256": None}, other)


@pytest.mark.parametrize(("trained_on", "warned"), [("a test", False), ("another fold", True), (None, True)])
def test_a_decomposer_that_may_know_the_test_images_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, trained_on: str | None, warned: bool
) -> None:
    path = write_decomposer(tmp_path, **({} if trained_on is None else {"trained_on": trained_on}))
    few = data.task_splits(splits(), "abnormality", max_normals=5)  # says so in its description
    with caplog.at_level(logging.WARNING):
        data.announce_decomposer(path, few)
    assert ("not trained on this split" in caplog.text) is warned


def test_data_set_has_the_channels_and_residues_of_the_decomposer(sample_dir: Path, tmp_path: Path) -> None:
    path = write_decomposer(tmp_path / "dgm")
    decomposer, items = data.load_decomposer(path), load_manifest(sample_dir)[:4]
    both = data.decomposed_dataset(items, ["image", "residue"], 32, tmp_path / "cache", decomposer, path)
    alone = data.decomposed_dataset(items, ["image"], 32, tmp_path / "cache")
    assert both[1]["image"].shape == (2, 32, 32) and torch.equal(both[1]["image"][:1], alone[1]["image"])
    with pytest.raises(InputError, match="expected a decomposer for the channel residue"):
        data.decomposed_dataset(items, ["residue"], 32, tmp_path / "cache")


def test_cross_fitted_residues_are_of_the_decomposer_of_the_images_own_fold(sample_dir: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    for fold in (0, 1):
        write_decomposer(tmp_path / f"fold{fold}")
    items = [{**item, "fold": place % 2} for place, item in enumerate(load_manifest(sample_dir)[:5])]
    paths = str(tmp_path / "fold{fold}" / "model.pt")
    fitted = data.decomposed_dataset(items, ["residue"], 32, tmp_path / "cache", cross_fitted=paths)
    for fold in (0, 1):
        path = paths.replace("{fold}", str(fold))
        one = data.decomposed_dataset(items, ["residue"], 32, tmp_path / "cache", data.load_decomposer(path), path)
        same = [torch.equal(fitted[place]["image"], one[place]["image"]) for place in range(5)]
        assert same == [place % 2 == fold for place in range(5)]


def test_what_cannot_be_cross_fitted(sample_dir: Path, tmp_path: Path) -> None:
    items = [{**item, "fold": place % 2} for place, item in enumerate(load_manifest(sample_dir)[:4])]

    def fit(items: list[dict[str, Any]], paths: str) -> None:
        data.decomposed_dataset(items, ["residue"], 32, tmp_path / "cache", cross_fitted=paths)

    with pytest.raises(InputError, match=r"expected a path with \{fold\} in it"):
        fit(items, str(write_decomposer(tmp_path / "fold0")))
    with pytest.raises(InputError, match="expected a fold for each image"):
        fit([{**item, "fold": None} for item in items], str(tmp_path / "fold{fold}" / "model.pt"))
    write_decomposer(tmp_path / "fold1", image_size=64)
    with pytest.raises(InputError, match="expected a decomposer of 32 pixels, it has 64"):
        fit(items, str(tmp_path / "fold{fold}" / "model.pt"))
