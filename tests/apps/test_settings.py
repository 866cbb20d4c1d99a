"""Settings of the app: command line before environment before default, and one line for what cannot be used."""

from __future__ import annotations

import stat
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


@pytest.mark.parametrize("archive", [False, True])
def test_labels_and_trainings_are_readable_for_the_user_alone(settings: Any, tmp_path: Path, archive: bool) -> None:
    state = tmp_path / "a" / "state"
    found = settings.of("http://127.0.0.1:9/dicom-web" if archive else str(tmp_path), {"state_dir": str(state)})
    found.open_studies()
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    with pytest.raises(InputError):  # nothing is made for a folder that is not there
        settings.of(str(tmp_path / "mistyped"), {}).open_studies()
    assert not (tmp_path / "mistyped").exists()


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


@pytest.fixture
def server(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that checks how MONAI Label's command was given."""
    monkeypatch.syspath_prepend(str(repository / "apps" / "radiology_dgm"))
    from lib import server

    monkeypatch.setattr(server, "_started_by_monai_label", lambda: True)
    return server


OPEN = "expected --host 127.0.0.1, or users that log in"
PLAIN = "tokens would pass unencrypted to 0.0.0.0"


@pytest.mark.parametrize(
    ("words", "login", "reason"),
    [
        (["--host", "127.0.0.1"], False, ""),
        ([], False, OPEN),  # MONAI Label listens on all addresses then
        (["--host", "0.0.0.0"], False, OPEN),
        (["-i", "192.0.2.1"], False, OPEN),
        (["--host", "0.0.0.0"], True, PLAIN),
        (["--host", "0.0.0.0", "--ssl_certfile", "x"], False, OPEN),
        (["--host", "0.0.0.0", "--ssl_certfile", "x"], True, ""),
    ],
)
def test_beyond_this_machine_it_takes_a_login_and_tls(
    server: Any, monkeypatch: pytest.MonkeyPatch, words: list[str], login: bool, reason: str
) -> None:
    monkeypatch.setattr(server.sys, "argv", ["monailabel", "start_server", *words])
    monkeypatch.setattr(server.settings, "MONAI_LABEL_AUTH_ENABLE", login)
    if not reason:
        server.check_address()
        return
    with pytest.raises(InputError, match=reason):
        server.check_address()


def test_a_worker_of_several_is_refused(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server.check_one_process()
    monkeypatch.setattr(server.multiprocessing, "parent_process", lambda: object())
    with pytest.raises(InputError, match="expected one process"):
        server.check_one_process()


def test_a_worker_that_does_not_start_ends_the_others(
    server: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[Any] = []
    monkeypatch.setattr(server.multiprocessing, "parent_process", lambda: object())
    monkeypatch.setattr(server.os, "getppid", lambda: 4711)
    monkeypatch.setattr(server.os, "kill", lambda *given: done.append(given))
    monkeypatch.setattr(server.os, "_exit", done.append)
    server.refuse_to_start(InputError("expected one process\nand more"))
    assert done == [(4711, server.signal.SIGTERM), 2]
    error = capsys.readouterr().err
    assert error.startswith("radiology_dgm: expected one process") and error.count("\n") == 1
