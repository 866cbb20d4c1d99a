"""Weights and settings of a model on disk: both formats, a full disk, files that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from monai_dgm.engines.weights import find_weights, load_weights, read_model_settings, read_state_dict, save_weights
from monai_dgm.errors import InputError
from monai_dgm.networks.dgm import DGM
from tests.engines.faults import files_limited_to, one_line
from tests.engines.resumable_training import plain


class Weight(nn.Module):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(count))


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_weights_round_trip(name: str, tmp_path: Path) -> None:
    network = DGM(base_width=2, num_res_blocks=1).to(memory_format=torch.channels_last)
    save_weights(network.state_dict(), tmp_path / "new" / name)
    other = DGM(base_width=2, num_res_blocks=1)
    assert load_weights(other, tmp_path / "new" / name) is other
    assert plain(other.state_dict()) == plain(network.state_dict())


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_weights_that_do_not_fit_are_told_in_one_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(InputError, match="there is none; run training first"):
        load_weights(Weight(2), path)
    save_weights({"weight": torch.ones(3)}, path)
    with pytest.raises(InputError) as error:
        load_weights(Weight(2), path)
    assert "weights of Weight as configured" in one_line(error, path)
    for content in (b"", b"not weights"):
        path.write_bytes(content)
        with pytest.raises(InputError) as error:
            load_weights(Weight(2), path)
        one_line(error, path)


def test_shipped_weights_come_before_trained_ones(tmp_path: Path) -> None:
    assert find_weights(tmp_path) == str(tmp_path / "model.pt")
    shipped = tmp_path / "shipped" / "model.safetensors"
    shipped.parent.mkdir()
    shipped.touch()
    (tmp_path / "model.pt").touch()
    assert find_weights(tmp_path) == str(shipped)
    assert find_weights(tmp_path, trained_first=True) == str(tmp_path / "model.pt")
    (tmp_path / "model.pt").unlink()
    assert find_weights(tmp_path, trained_first=True) == str(shipped)


def test_settings_of_a_model_lie_beside_its_weights(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    paper = read_model_settings(path)
    (tmp_path / "model.json").write_text(json.dumps({"base_width": 16}))
    assert read_model_settings(path) == {**paper, "base_width": 16}
    for wrong in ("{", "[1]", "3"):
        (tmp_path / "model.json").write_text(wrong)
        with pytest.raises(InputError) as error:
            read_model_settings(path)
        one_line(error, tmp_path / "model.json")


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_a_full_disk_is_told_in_one_line_and_the_old_file_stays(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    save_weights({"weight": torch.ones(2)}, path)
    with files_limited_to(4096), pytest.raises(InputError) as error:
        save_weights({"weight": torch.zeros(100_000)}, path)
    one_line(error, path)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert load_weights(Weight(2), path).weight.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_parts_of_a_file_are_read_alone(tmp_path: Path, suffix: str) -> None:
    network = nn.ModuleDict({"first": nn.Linear(2, 3), "second": nn.Linear(3, 1)})
    path = tmp_path / f"model.{suffix}"
    save_weights(network.state_dict(), path)
    whole, part = read_state_dict(path), read_state_dict(path, parts={"second", "third"})
    assert whole.keys() == network.state_dict().keys() and set(part) == {"second.weight", "second.bias"}
    assert all(torch.equal(tensor, whole[name]) for name, tensor in part.items())
