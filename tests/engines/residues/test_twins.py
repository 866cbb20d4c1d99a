"""Cached normal twins are those of the decomposer, computed once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.decomposed import DecomposedDataset
from monai_dgm.data.manifest import load_manifest
from monai_dgm.data.twins import TwinDataset
from monai_dgm.engines.residues.twins import cached_twins
from monai_dgm.transforms.normal_twin import normal_twin

SIZE = 32


class Halving(nn.Module):
    """y' is half of the image, a its upper part; counts the images it sees."""

    seen = 0

    def forward(self, image: Tensor) -> Tensor:
        self.seen += len(image)
        return torch.cat((image / 2, image.clamp(min=0), torch.ones_like(image)), dim=1)


def test_twins_and_their_residues_once(sample_dir: Path, tmp_path: Path) -> None:
    dataset = RadiographDataset(load_manifest(sample_dir)[:5], SIZE, tmp_path / "cache")
    weights, network = tmp_path / "model.pt", Halving()
    weights.write_bytes(b"any")
    (tmp_path / "model.json").write_text(json.dumps({"image_size": SIZE}))
    alone, nothing = cached_twins(dataset, network, weights, tmp_path / "cache")
    assert nothing is None and network.seen == 5
    twins, residues = cached_twins(dataset, network, weights, tmp_path / "cache", with_residues=True)
    assert residues is not None and np.array_equal(twins, alone)
    seen = network.seen
    cached_twins(dataset, network, weights, tmp_path / "cache", with_residues=True)
    assert network.seen == seen
    expected = normal_twin(Halving(), dataset.images_as_tensor(range(5)), channels=("image", "residue")).numpy()
    np.testing.assert_allclose(twins, expected[:, 0], atol=1e-3)
    np.testing.assert_allclose(residues, expected[:, 1], atol=1e-3)
    joined = TwinDataset(DecomposedDataset(dataset, residues), twins, residues)
    assert len(joined) == 5 + int((dataset.labels == 1).sum())
