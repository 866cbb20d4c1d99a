"""Keys of the command line that no configuration has."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from monai_dgm.engines.overrides import check_overrides
from monai_dgm.errors import UsageError


@pytest.fixture
def files(repository: Path, tmp_path: Path) -> list[str]:
    """The bundle's configuration, and one of a user that refers to a key which the command line is to give."""
    (tmp_path / "own.json").write_text(json.dumps({"train#trainer#max_epochs": "$@num_years * 2"}), encoding="utf-8")
    return [str(repository / "bundles" / "dgm" / "configs" / "train.json"), str(tmp_path / "own.json")]


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["--max_epoch", "3"], "max_epochs"),
        (["--datset_dir=folder"], "dataset_dir"),
        (["--learning-rat", "0.1"], "learning_rate"),
        (["--trian#trainer#amp", "False"], "train"),
    ],
)
def test_a_mistyped_key_is_refused(files: list[str], words: list[str], near: str) -> None:
    with pytest.raises(UsageError, match=f"is it {near}"):
        check_overrides(["monai", "run", "--config_file", files[0], *words])


def test_keys_that_are_used_are_none(files: list[str], caplog: pytest.LogCaptureFixture) -> None:
    words = ["--config_file", str(files), "--max_epochs", "3", "--train#trainer#new", "1", "--meta_file", "x"]
    words += ["--num_years", "2", "--bundle_root", "b", "--test#metrics#num_bootstrap=10"]
    check_overrides(["monai", "run", *words])
    assert not caplog.messages
    with caplog.at_level(logging.WARNING):
        check_overrides(["monai", "run", *words, "--colour", "red"])
    assert caplog.messages == ["--colour: the configuration has no such key, nothing uses it"]


@pytest.mark.parametrize(
    "words", [[], ["pytest", "--max_epoch", "3"], ["run", "--config_file", "missing.json", "--x", "1"]]
)
def test_without_a_configuration_nothing_is_checked(words: list[str]) -> None:
    check_overrides(words)
