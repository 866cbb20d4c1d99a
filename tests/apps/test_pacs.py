"""The commands of `make label` and `make label-pacs`: their radiographs, and no archive but their own."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from monai_dgm.data.examples import example_radiographs


@pytest.fixture
def pacs(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, with its files in ``tmp_path`` and a program for Orthanc that listens to nothing."""
    monkeypatch.syspath_prepend(str(repository / "apps" / "radiology_dgm"))
    import pacs

    program = tmp_path / "Orthanc"
    program.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(pacs, "orthanc_program", lambda: str(program))
    monkeypatch.setattr(pacs.start, "RUNS", tmp_path / "runs")
    return pacs


@pytest.fixture
def foreign() -> Iterator[tuple[int, list[str]]]:
    """Another Orthanc: its port, and the requests that it got."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(f"{self.command} {self.path}")
            body = json.dumps({"Name": "monai-dgm"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, requests
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("option", ["--port", "--orthanc-port"])
def test_a_used_port_is_refused(
    option: str, pacs: Any, foreign: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port, requests = foreign
    other = "--port" if option == "--orthanc-port" else "--orthanc-port"
    monkeypatch.setattr(sys, "argv", ["pacs.py", option, str(port), other, str(pacs.free_port())])
    assert pacs.main() == 1
    error = capsys.readouterr().err
    assert error.startswith(f"label-pacs: port {port} cannot be used") and error.count("\n") == 1
    assert requests == []


def test_another_orthanc_at_the_port_is_refused(
    pacs: Any, foreign: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, requests = foreign
    orthanc = pacs.Orthanc(tmp_path / "orthanc", port)
    with pytest.raises(pacs.PacsError, match=f"port {port} cannot be used"):
        orthanc.start()
    monkeypatch.setattr(pacs, "require_free_port", lambda _: None)  # it came between check and start
    with pytest.raises(pacs.PacsError, match="does not start"):
        orthanc.start()
    assert orthanc.process is None and not [request for request in requests if not request.startswith("GET")]


def test_a_port_of_closed_connections_is_free(pacs: Any) -> None:
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        served, _ = listening.accept()
        served.close()  # first, so that the port is the one that waits
        client.close()
    pacs.require_free_port(port)


def test_the_app_gets_a_copy_of_the_real_radiographs(pacs: Any) -> None:
    folder = pacs.start.sample_folder()
    names = [path.name for path in sorted((example_radiographs() / "images").iterdir())]
    assert folder.is_relative_to(pacs.start.RUNS) and {path.name for path in folder.iterdir()} == {
        "images",
        "manifest.csv",
        "README.md",
    }
    assert [path.name for path in sorted((folder / "images").iterdir())] == names and len(names) == 24
    (folder / "images" / ".monai_dgm").mkdir()
    assert pacs.start.sample_folder() == folder and (folder / "images" / ".monai_dgm").is_dir()
    assert not list(pacs.start.RUNS.glob("*.partial"))


def test_the_archive_gets_them_as_dicom(pacs: Any) -> None:
    class Archive:
        contents: list[bytes] = []

        def upload(self, content: bytes) -> None:
            self.contents.append(content)

    assert pacs.load_sample(Archive()) == 24
    assert len(set(Archive.contents)) == 24 and all(b"NIH ChestX-ray14^nih" in content for content in Archive.contents)


def test_the_simulated_sample_is_an_option(pacs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacs.start, "SAMPLE_PATIENTS", 2)
    monkeypatch.setattr(pacs.start, "SAMPLE_SIZE", 32)
    assert not pacs.start.parse([]).simulated and pacs.start.parse(["--simulated"]).simulated
    folder = pacs.start.sample_folder(simulated=True)
    assert folder.name == "sample-2x32" and len(list((folder / "images").iterdir())) >= 2


@pytest.fixture
def commands(pacs: Any, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is run, in the place of running it; the service is enabled until it is disabled."""
    ran: list[list[str]] = []

    def run(words: list[str], **_: Any) -> Any:
        ran.append(words)
        stays = "disable" not in [word for one in ran for word in one] or pacs.service_stays
        text = "enabled\n" if stays else "disabled\n"
        return pacs.subprocess.CompletedProcess(words, int(words[:2] == pacs.failing), text, "")

    programs = iter([None, "/usr/sbin/Orthanc"])
    monkeypatch.setattr(pacs, "orthanc_program", lambda: next(programs, "/usr/sbin/Orthanc"))
    monkeypatch.setattr(pacs.os, "geteuid", lambda: 0)
    monkeypatch.setattr(pacs.shutil, "which", lambda name, **_: f"/usr/bin/{name}")
    monkeypatch.setattr(pacs.subprocess, "run", run)
    monkeypatch.setattr(pacs, "service_stays", False, raising=False)
    monkeypatch.setattr(pacs, "failing", [], raising=False)
    return ran


def test_the_service_of_the_packages_is_disabled_and_what_was_installed_is_said(
    pacs: Any, commands: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    pacs.install_orthanc()
    assert [words[0] for words in commands] == ["apt-get", "apt-get", "systemctl", "systemctl"]
    said = capsys.readouterr().out
    assert all(name in said for name in pacs.PACKAGES) and "disabled" in said


def test_a_service_that_stays_enabled_is_an_error(pacs: Any, commands: list[list[str]]) -> None:
    pacs.service_stays = True
    with pytest.raises(pacs.PacsError, match="still enabled"):
        pacs.install_orthanc()


def test_an_installation_that_fails_leaves_no_service(pacs: Any, commands: list[list[str]]) -> None:
    pacs.failing = ["apt-get", "install"]
    with pytest.raises(pacs.PacsError, match="apt-get install"):
        pacs.install_orthanc()
    assert ["systemctl", "disable", "--now", "orthanc"] in commands


def test_nothing_is_stored_after_the_server_has_ended(pacs: Any, foreign: Any, tmp_path: Path) -> None:
    port, requests = foreign
    orthanc = pacs.Orthanc(tmp_path / "orthanc", port)
    with pytest.raises(pacs.PacsError, match="has ended"):
        orthanc.upload(b"x")
    assert requests == []
