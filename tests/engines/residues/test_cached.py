"""Cached residues: those of the decomposer, computed once, again when weights or images change, never half a file."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.decomposed import DecomposedDataset
from monai_dgm.data.manifest import load_manifest
from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.engines.residues.cached import cached_residues, predict_residue
from monai_dgm.engines.weights import load_weights, save_weights
from monai_dgm.errors import InputError
from monai_dgm.networks.decomposer import Decomposer
from monai_dgm.readers.read import read_radiograph
from monai_dgm.transforms.preparation import prepare

SIZE = 32


class Counting(nn.Module):
    """A decomposer that counts the images it sees."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.seen = network, 0

    def forward(self, image: Tensor) -> Tensor:
        self.seen += len(image)
        return self.network(image)


@pytest.fixture
def dataset(sample_dir: Path, tmp_path: Path) -> RadiographDataset:
    return RadiographDataset(load_manifest(sample_dir)[:5], SIZE, tmp_path / "cache")


def write_weights(folder: Path, size: int = SIZE, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    network = Decomposer(base_width=2, num_res_blocks=1)
    for parameter in network.parameters():  # untrained residues are faint
        parameter.data.mul_(1.5)
    save_weights(network.state_dict(), folder / "model.pt")
    (folder / "model.json").write_text(json.dumps({"image_size": size, "base_width": 2, "num_res_blocks": 1}))
    return folder / "model.pt"


def decomposer(weights: Path) -> Counting:
    return Counting(load_weights(Decomposer(base_width=2, num_res_blocks=1), weights).eval())


def test_residues_are_the_decomposers(dataset: RadiographDataset, tmp_path: Path) -> None:
    weights = write_weights(tmp_path)
    network = decomposer(weights)
    residues = cached_residues(dataset, network, weights, tmp_path / "residues", batch_size=2)
    assert isinstance(residues, np.memmap) and residues.dtype == np.float16 and residues.shape == (5, SIZE, SIZE)
    assert not residues.flags.writeable
    with torch.inference_mode():
        expected = network(dataset.images_as_tensor(range(5)))[:, 1].numpy()
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(residues, expected, atol=1e-3)


def test_computed_once(dataset: RadiographDataset, tmp_path: Path) -> None:
    weights = write_weights(tmp_path)
    network = decomposer(weights)
    first = cached_residues(dataset, network, weights, tmp_path / "residues")
    assert network.seen == 5
    second = cached_residues(dataset, network, weights, tmp_path / "residues")
    assert network.seen == 5 and np.array_equal(first, second)


def test_other_weights_or_images_are_computed_anew(dataset: RadiographDataset, tmp_path: Path) -> None:
    weights = write_weights(tmp_path)
    cache = tmp_path / "residues"
    first = np.array(cached_residues(dataset, decomposer(weights), weights, cache))
    other = write_weights(tmp_path, seed=1)  # the same path
    assert not np.array_equal(first, cached_residues(dataset, decomposer(other), other, cache))
    turned = RadiographDataset(dataset.items[::-1], SIZE, tmp_path / "cache")
    again = cached_residues(turned, decomposer(other), other, cache)
    np.testing.assert_array_equal(again[::-1], cached_residues(dataset, decomposer(other), other, cache))


def test_a_decomposer_of_another_side(dataset: RadiographDataset, tmp_path: Path) -> None:
    weights = write_weights(tmp_path, size=64)
    residues = cached_residues(dataset, decomposer(weights), weights, tmp_path / "residues")
    assert residues.shape == (5, 64, 64)
    assert DecomposedDataset(dataset, residues)[0]["image"].shape == (2, SIZE, SIZE)


def test_the_border_that_padding_added_has_no_residue(tmp_path: Path) -> None:
    pixels = (np.random.default_rng(0).random((40, 20)) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "narrow.png")
    items: list[dict[str, Any]] = [{"image": str(tmp_path / "narrow.png"), "label": 1}]
    dataset = RadiographDataset(items, SIZE, tmp_path / "cache")
    weights = write_weights(tmp_path)
    network = decomposer(weights)
    plane = cached_residues(dataset, network, weights, tmp_path / "residues")[0]
    assert (plane[:, :8] == 0).all() and (plane[:, 24:] == 0).all() and (plane[:, 8:24] != 0).any()
    # the same as inference shows
    prepared = prepare(read_radiograph(tmp_path / "narrow.png"), SIZE)
    (result,) = RadiographPipeline(network, SIZE)([prepared])
    assert not isinstance(result, InputError) and result.residue is not None
    np.testing.assert_allclose(plane, result.residue, atol=1e-3)
    residue = predict_residue(network, dataset[0]["image"][None], SIZE, dataset.geometries)
    np.testing.assert_allclose(plane, residue[0, 0], atol=1e-3)


def test_a_damaged_file_is_written_anew(dataset: RadiographDataset, tmp_path: Path) -> None:
    weights = write_weights(tmp_path)
    cache = tmp_path / "residues"
    expected = np.array(cached_residues(dataset, decomposer(weights), weights, cache))
    (file,) = cache.glob("*.npy")
    file.write_bytes(file.read_bytes()[:-100])
    network = decomposer(weights)
    np.testing.assert_array_equal(cached_residues(dataset, network, weights, cache), expected)
    assert network.seen == 5


def test_two_that_need_them_compute_them_once(dataset: RadiographDataset, tmp_path: Path) -> None:
    weights = write_weights(tmp_path)
    networks = [decomposer(weights) for _ in range(3)]
    results: list[np.ndarray] = []

    def run(network: nn.Module) -> None:
        results.append(cached_residues(dataset, network, weights, tmp_path / "residues"))

    threads = [threading.Thread(target=run, args=(network,)) for network in networks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3 and sum(network.seen for network in networks) == 5


def test_residues_that_are_not_finite_are_refused(dataset: RadiographDataset, tmp_path: Path) -> None:
    weights = write_weights(tmp_path)
    network = decomposer(weights)
    for parameter in network.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(InputError, match=r"model\.pt: expected finite residues"):
        cached_residues(dataset, network, weights, tmp_path / "residues")
    assert not list((tmp_path / "residues").glob("*.npy")) and not list((tmp_path / "residues").glob("*.partial"))


def test_weights_that_are_not_there(dataset: RadiographDataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.pt: expected the decomposer's weights"):
        cached_residues(dataset, nn.Identity(), tmp_path / "none.pt", tmp_path / "residues")
