"""The decomposer whose residues others look at: is it there, is it the right one, which residues are whose."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from monai_dgm.data.manifest import load_manifest
from monai_dgm.data.sources import Splits
from monai_dgm.engines.residues.frozen_decomposer import (
    announce_decomposer,
    check_decomposer,
    decomposed_dataset,
    decomposer_sha256,
    load_decomposer,
    needs_decomposer,
)
from monai_dgm.errors import InputError
from tests.decomposers import write_decomposer


def test_who_needs_a_decomposer() -> None:
    assert not needs_decomposer(["image"])
    assert needs_decomposer(["residue"]) and needs_decomposer(["image"], pseudo_healthy_prob=0.5)
    with pytest.raises(InputError, match="channels"):
        needs_decomposer(["saliency"])


def test_decomposer_is_frozen_and_sized_by_its_settings(tmp_path: Path) -> None:
    network = load_decomposer(write_decomposer(tmp_path))
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    assert network(torch.zeros(1, 1, 32, 32)).shape == (1, 3, 32, 32)
    with pytest.raises(InputError, match=r"none\.pt: expected the weights of a decomposer"):
        load_decomposer(tmp_path / "none.pt")


def test_another_decomposer_than_in_training_is_refused(tmp_path: Path) -> None:
    one, other = write_decomposer(tmp_path / "one"), write_decomposer(tmp_path / "other", seed=1)
    settings = {"decomposer_sha256": decomposer_sha256(one, ["image", "residue"])}
    check_decomposer(settings, one)
    for wrong in (other, tmp_path / "none.pt"):
        with pytest.raises(InputError, match="expected the decomposer that the weights were trained with"):
            check_decomposer(settings, wrong)
    assert decomposer_sha256(tmp_path / "none.pt", ["image"]) is None
    check_decomposer({"decomposer_sha256": None}, other)


@pytest.mark.parametrize(("trained_on", "warned"), [("a test", False), ("another fold", True), (None, True)])
def test_a_decomposer_that_may_know_the_test_images_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, trained_on: str | None, warned: bool
) -> None:
    path = write_decomposer(tmp_path, **({} if trained_on is None else {"trained_on": trained_on}))
    few = Splits([], [], [], "a test, 5 normals to train on")  # the same split, of which less is used
    with caplog.at_level(logging.WARNING):
        announce_decomposer(path, few)
    assert ("not trained on this split" in caplog.text) is warned


def test_data_set_has_the_channels_and_residues_of_the_decomposer(sample_dir: Path, tmp_path: Path) -> None:
    path = write_decomposer(tmp_path / "dgm")
    decomposer, items = load_decomposer(path), load_manifest(sample_dir)[:4]
    both = decomposed_dataset(items, ["image", "residue"], 32, tmp_path / "cache", decomposer, path)
    alone = decomposed_dataset(items, ["image"], 32, tmp_path / "cache")
    assert both[1]["image"].shape == (2, 32, 32) and torch.equal(both[1]["image"][:1], alone[1]["image"])
    with pytest.raises(InputError, match="expected a decomposer for the channel residue"):
        decomposed_dataset(items, ["residue"], 32, tmp_path / "cache")


def test_cross_fitted_residues_are_of_the_decomposer_of_the_images_own_fold(sample_dir: Path, tmp_path: Path) -> None:
    for fold in (0, 1):
        write_decomposer(tmp_path / f"fold{fold}", seed=fold)
    items = [{**item, "fold": place % 2} for place, item in enumerate(load_manifest(sample_dir)[:5])]
    paths = str(tmp_path / "fold{fold}" / "model.pt")
    fitted = decomposed_dataset(items, ["residue"], 32, tmp_path / "cache", cross_fitted=paths)
    for fold in (0, 1):
        path = paths.replace("{fold}", str(fold))
        one = decomposed_dataset(items, ["residue"], 32, tmp_path / "cache", load_decomposer(path), path)
        same = [torch.equal(fitted[place]["image"], one[place]["image"]) for place in range(5)]
        assert same == [place % 2 == fold for place in range(5)]


def test_what_cannot_be_cross_fitted(sample_dir: Path, tmp_path: Path) -> None:
    items = [{**item, "fold": place % 2} for place, item in enumerate(load_manifest(sample_dir)[:4])]

    def fit(items: list[dict[str, Any]], paths: str) -> None:
        decomposed_dataset(items, ["residue"], 32, tmp_path / "cache", cross_fitted=paths)

    with pytest.raises(InputError, match=r"expected a path with \{fold\} in it"):
        fit(items, str(write_decomposer(tmp_path / "fold0")))
    with pytest.raises(InputError, match="expected a fold for each image"):
        fit([{**item, "fold": None} for item in items], str(tmp_path / "fold{fold}" / "model.pt"))
    write_decomposer(tmp_path / "fold1", image_size=64)
    with pytest.raises(InputError, match="expected a decomposer of 32 pixels, it has 64"):
        fit(items, str(tmp_path / "fold{fold}" / "model.pt"))
