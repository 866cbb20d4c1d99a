"""Settings of the app: command line before environment before default, and one line for what cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monai_dgm.errors import InputError

pytest.importorskip("monailabel", reason="MONAI Label is not installed (pip install -e '.[label]')")


@pytest.fixture
def settings(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(repository / "apps" / "radiology_dgm"))
    from lib.settings import Settings

    return Settings


def test_the_command_line_counts_before_the_environment(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.of("/images", {}).state_dir == Path("/images/.monai_dgm")
    monkeypatch.setenv("MONAI_DGM_SEED", "3")
    monkeypatch.setenv("MONAI_DGM_STATE_DIR", "/state")
    monkeypatch.setenv("MONAI_DGM_STUDIES", "/other")
    monkeypatch.setenv("MONAI_DGM_DEVICE", "")
    found = settings.of("/images", {"send_results": "false", "device": ""})
    assert (found.studies, found.seed, found.state_dir, found.device) == ("/images", 3, Path("/state"), "cpu")
    assert found.send_results is False
    assert settings.of("/images", {"seed": "4"}).seed == 4


def test_labels_of_an_archive_are_kept_with_the_user(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/home/state")
    first = settings.of("http://127.0.0.1:8042/dicom-web/", {}).state_dir
    assert first.parent == Path("/home/state/monai-dgm")
    assert first == settings.of("http://127.0.0.1:8042/dicom-web", {}).state_dir
    assert first != settings.of("http://127.0.0.1:8043/dicom-web", {}).state_dir


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", "x"),
        ("seed", "-1"),
        ("seed", "9" * 40),
        ("cache_gigabytes", "nan"),
        ("poll_seconds", "0"),
        ("send_results", "maybe"),
        ("sede", "1"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(settings: Any, name: str, value: str) -> None:
    with pytest.raises(InputError) as caught:
        settings.of("/images", {name: value})
    text = str(caught.value)
    assert text.startswith("--conf: expected the settings" if name == "sede" else f"{name}: ") and "\n" not in text
