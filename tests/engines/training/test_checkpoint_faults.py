"""Checkpoints that cannot be gone on from are told in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from monai_dgm.errors import InputError
from tests.engines.faults import one_line
from tests.engines.resumable_training import small_training, uninterrupted


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_name(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"PK", b"KP"))


def another_file(path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, path)


def a_list(path: Path) -> None:
    torch.save([1, 2, 3], path)


@pytest.mark.parametrize("damage", [truncate, damage_name, another_file, a_list, lambda path: path.write_bytes(b"")])
def test_a_damaged_file_is_told_in_one_line(damage: Callable[[Path], None], tmp_path: Path) -> None:
    uninterrupted(tmp_path, max_epochs=1)
    path = tmp_path / "checkpoint.pt"
    damage(path)
    with pytest.raises(InputError) as error:
        small_training(tmp_path).trainer.run()
    assert "cannot be read; remove it to start anew" in one_line(error, path)


@pytest.mark.parametrize(
    ("settings", "named"), [({"base_width": 3}, "(network)"), ({"epoch_length": 6}, "4 there, 6 here")]
)
def test_other_settings_are_told_in_one_line(settings: dict[str, Any], named: str, tmp_path: Path) -> None:
    uninterrupted(tmp_path, max_epochs=1)
    with pytest.raises(InputError) as error:
        small_training(tmp_path, **settings).trainer.run()
    message = one_line(error, tmp_path / "checkpoint.pt")
    assert "other settings" in message and named in message


def test_an_object_that_the_file_lacks_is_told_in_one_line(tmp_path: Path) -> None:
    uninterrupted(tmp_path, max_epochs=1)
    training = small_training(tmp_path)
    training.checkpoint.objects["another"] = nn.Linear(1, 1)
    with pytest.raises(InputError) as error:
        training.trainer.run()
    assert "another" in one_line(error, tmp_path / "checkpoint.pt")
