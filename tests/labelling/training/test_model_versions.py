from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from monai_dgm.data.fingerprints import hash_file
from monai_dgm.engines.weights import read_model_settings
from monai_dgm.errors import InputError
from monai_dgm.labelling.server.http_errors import ConflictError, UnknownError
from monai_dgm.labelling.training.model_versions import ModelVersions

SETTINGS = {"image_size": 32}


def add(versions: ModelVersions, value: float = 1.0, status: str = "promoted") -> int:
    state = {"weight": torch.full((4,), value)}
    return versions.add(state, SETTINGS, {"status": status, "reason": "a test", "parent": None}).number


@pytest.fixture
def versions(tmp_path: Path) -> ModelVersions:
    return ModelVersions(tmp_path / "models")


def test_versions_are_numbered_and_none_is_current_by_itself(versions: ModelVersions) -> None:
    assert versions.all() == [] and versions.current() is None
    assert [add(versions, value) for value in (1.0, 2.0)] == [1, 2]
    assert versions.current() is None
    first, second = versions.all()
    assert first.info["sha256"] == hash_file(first.weights) != second.info["sha256"]
    assert read_model_settings(second.weights)["image_size"] == 32


def test_every_version_can_be_restored(versions: ModelVersions) -> None:
    for value in (1.0, 2.0, 3.0):
        add(versions, value)
    for number in (3, 1, 2, 1):
        versions.restore(number, "a test")
        current = ModelVersions(versions.folder).current()
        assert current is not None and current.number == number
    with pytest.raises(UnknownError):
        versions.restore(4, "a test")


def test_weights_that_changed_are_not_served(versions: ModelVersions) -> None:
    add(versions)
    versions.get(1).weights.write_bytes(b"other")
    with pytest.raises(ConflictError, match="version 1: expected the weights that were stored"):
        versions.restore(1, "a test")
    assert versions.current() is None


def test_given_weights_are_copied_once_and_keep_their_hash(versions: ModelVersions, tmp_path: Path) -> None:
    given = tmp_path / "model.pt"
    torch.save({"weight": torch.zeros(4)}, given)
    given.with_suffix(".json").write_text(json.dumps(SETTINGS))
    digest = hash_file(given)
    one, two = versions.adopt(given, "given"), versions.adopt(given, "again")
    assert one.number == two.number == 1 and one.info["status"] == "given"
    given.unlink()
    assert hash_file(versions.get(1).weights) == digest == one.info["sha256"]
    with pytest.raises(InputError):
        versions.adopt(given, "gone")


def test_what_is_damaged_is_no_version_and_keeps_its_number(
    versions: ModelVersions, caplog: pytest.LogCaptureFixture
) -> None:
    add(versions), add(versions)
    versions.restore(2, "a test")
    versions.get(2).weights.with_suffix(".json").write_text("{")
    assert [version.number for version in versions.all()] == [1] and "left out" in caplog.text
    assert versions.current() is None and add(versions) == 3
    (versions.folder / "current.json").write_text("[]")
    assert versions.current() is None


def test_no_room_leaves_no_half_version(versions: ModelVersions, monkeypatch: pytest.MonkeyPatch) -> None:
    add(versions)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("monai_dgm.engines.weights.save_file", full)
    with pytest.raises(InputError, match="No space left"):
        add(versions)
    assert sorted(os.listdir(versions.folder)) == [".lock", "000001"]


WRITER = """
import sys, torch
from monai_dgm.labelling.training.model_versions import ModelVersions
versions = ModelVersions(sys.argv[1])
print("ready", flush=True)
while True:
    number = versions.add({"weight": torch.rand(2000, 500)}, {}, {"status": "promoted", "reason": ""}).number
    versions.restore(number, "")
"""


def test_killed_at_any_moment_there_are_only_whole_versions(versions: ModelVersions) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(versions.folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline()
    time.sleep(1.0)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    found = versions.all()
    assert found and all(hash_file(version.weights) == version.info["sha256"] for version in found)
    current = versions.current()
    assert current is not None and current.number in (found[-1].number, found[-1].number - 1)
    assert add(versions) == found[-1].number + 1 and not list(versions.folder.glob(".partial-*"))


def test_what_a_killed_process_left_is_swept_away(versions: ModelVersions) -> None:
    add(versions)
    (versions.folder / ".partial-a").mkdir()
    (versions.folder / ".partial-b.json").write_text("{")
    versions.restore(1, "a test")
    assert not list(versions.folder.glob(".partial-*")) and len(versions.all()) == 1
