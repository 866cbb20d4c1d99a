"""The app as it is started, with the client that 3D Slicer's panel uses."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.programs import Program, Programs

pytestmark = pytest.mark.slow
pytest.importorskip("monailabel", reason="MONAI Label is not installed (pip install -e '.[label]')")

STARTING_SECONDS = 600.0  # on a machine that is busy


@pytest.fixture
def command(repository: Path, studies: Path) -> list[str]:
    """Words behind ``python``."""
    app = str(repository / "apps" / "radiology_dgm")
    return [
        "-m",
        "monailabel.main",
        "start_server",
        "--app",
        app,
        "--studies",
        str(studies),
        "--host",
        "127.0.0.1",
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    programs: Programs, command: list[str], environment: dict[str, str], log: Path
) -> Iterator[tuple[str, Program]]:
    """Address and process of a server that answers."""
    port = free_port()
    words = [*command, "--port", str(port)]
    process = programs.start(words, env=environment, stdout=log, stderr=log, cwd=log.parent)
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + STARTING_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            try:
                urllib.request.urlopen(f"{address}/info/", timeout=10).read()
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.3)
        yield address, process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)


@pytest.fixture
def environment(environment: dict[str, str], decomposer_weights: Path, tmp_path: Path) -> dict[str, str]:
    """A decomposer alone: the detector that ships looks at the image and finds nothing in these."""
    own = {"MONAI_DGM_DECOMPOSER": str(decomposer_weights), "MONAI_DGM_BUNDLES": str(tmp_path / "bundles")}
    return {**environment, **own}


def test_the_panels_client(programs: Programs, command: list[str], environment: dict[str, str], tmp_path: Path) -> None:
    from monailabel.client import MONAILabelClient

    with running(programs, command, environment, tmp_path / "server.log") as (address, _):
        client = MONAILabelClient(address, tmpdir=str(tmp_path), client_id="reader one")
        info = client.info()
        image = client.next_sample("combined", {})["id"]
        for name in ("detect_opacities", "decompose"):
            config = info["models"][name]["config"]
            params = {
                key: value[0] if isinstance(value, list) else value for key, value in config.items()
            }  # as it does
            file, metrics = client.infer(name, image, params)
            assert Path(file).stat().st_size and metrics["model_version"].startswith("decomposer-")
        markups = tmp_path / "opacities.json"
        assert json.loads(markups.read_text())["markups"]
        assert client.save_label(image, str(markups), params={"label_info": []})["status"] == "boxes"
        markups.write_text('{"markups": []}')
        assert client.save_label(image, str(markups))["status"] == "no_finding"
        assert json.loads(Path(client.download_label(image, "final")).read_text())["markups"] == []
        assert client.datastore()["objects"][image]["labels"]["final"]["info"]["readers"][0]["reader"] == "reader one"
        assert client.train_status(check_if_running=True) is False
        port = address.rsplit(":", 1)[1]
        listening = subprocess.run(["ss", "-ltn"], capture_output=True, text=True, check=False).stdout.split()
        assert not listening or [entry for entry in listening if entry.endswith(f":{port}")] == [f"127.0.0.1:{port}"]
    log = (tmp_path / "server.log").read_text(errors="replace")
    assert not [word for word in ("Doe", "Roe", "reader one", "Traceback") if word in log]


def test_it_does_not_start_open_to_others(
    programs: Programs, command: list[str], environment: dict[str, str], studies: Path
) -> None:
    words = command[:-2]  # without --host, MONAI Label listens on all addresses
    done = programs.run(words, env=environment)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("radiology_dgm: expected --host 127.0.0.1, or users that")
    assert not (studies / ".monai_dgm").exists()


def test_several_workers_are_refused(repository: Path, command: list[str]) -> None:
    words = [sys.executable, str(repository / "apps" / "radiology_dgm" / "serve.py"), *command[2:], "--workers", "2"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("radiology_dgm: expected one process (--workers 1)")


def test_a_mistyped_folder_of_studies_is_an_error(
    command: list[str], environment: dict[str, str], studies: Path
) -> None:
    """A real start: how long it takes tells who made the folder."""
    wrong = studies.with_name("studeis")
    words = [sys.executable, *(str(wrong) if word == str(studies) else word for word in command)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=STARTING_SECONDS)
    assert done.returncode == 2 and "--studies: expected a folder" in done.stderr.strip().splitlines()[-1]
    assert not wrong.exists()


def test_the_address_is_the_last_line_of_the_start(
    repository: Path, environment: dict[str, str], studies: Path, tmp_path: Path
) -> None:
    port = free_port()
    words = [sys.executable, str(repository / "apps" / "radiology_dgm" / "start.py")]
    with open(tmp_path / "log", "wb") as log:
        words += ["--studies", str(studies), "--port", str(port)]
        process = subprocess.Popen(words, env=environment, stdout=log, stderr=log, cwd=tmp_path)
    try:
        deadline = time.monotonic() + STARTING_SECONDS
        while b"ready:" not in (tmp_path / "log").read_bytes() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.2)
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30).status == 200
        lines = (tmp_path / "log").read_text().splitlines()
    finally:
        process.terminate()
        process.wait(30)
    own = [line for line in lines if "[scoring of images]" not in line]  # the background may be done already
    assert own[-1].startswith(f"ready:   http://127.0.0.1:{port}/")
    assert not [line for line in lines if "USING::" in line]
    words = [word if word != str(studies) else str(studies) + "x" for word in words]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith("label: expected a folder of radiographs")


def test_no_label_is_lost_when_the_server_is_killed(
    programs: Programs, command: list[str], environment: dict[str, str], studies: Path, tmp_path: Path
) -> None:
    stored: list[str] = []
    with running(programs, command, environment, tmp_path / "server.log") as (address, process):
        import requests

        def submit() -> None:
            for number in range(10_000):
                files = {"label": ("x.json", b'{"markups": []}')}
                fields = {"params": json.dumps({"reader": f"reader {number}"})}
                try:
                    answer = requests.put(f"{address}/datastore/label?image=c", files=files, data=fields, timeout=20)
                except requests.RequestException:
                    return
                if answer.status_code == 200:
                    stored.append(answer.json()["reader"])

        thread = threading.Thread(target=submit)
        thread.start()
        deadline = time.monotonic() + STARTING_SECONDS
        while len(stored) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        thread.join(30)
    assert stored
    with running(programs, command, environment, tmp_path / "server.log") as (address, _):
        answer = urllib.request.urlopen(f"{address}/datastore/label/info?label=c&tag=final").read()
    found = {reader["reader"] for reader in json.loads(answer)["readers"]}
    assert set(stored) <= found and len(found) <= len(stored) + 1
    for file in (studies / ".monai_dgm" / "labels").rglob("0*.json"):
        json.loads(file.read_text())
