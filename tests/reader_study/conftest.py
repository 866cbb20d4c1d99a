"""Studies of drawn images, and a server of one in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_dgm.reader_study.making import make_study


def write_images(folder: Path, number: int, level: int, size: tuple[int, int] = (48, 48)) -> Path:
    """Noise around a grey level, `0.png` to `N-1.png`."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(level)
    for i in range(number):
        pixels = np.clip(draw.normal(level, 12, size[::-1]), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png", pnginfo=None, compress_level=level % 10)
    return folder


@pytest.fixture
def new_study(tmp_path: Path) -> Callable[..., Path]:
    """Makes a study of systems by name, each with its grey level."""

    def make(systems: Sequence[str], number: int, num_catch: int | None = None, seed: int = 0) -> Path:
        folders = {
            name: write_images(tmp_path / name, number, 40 + 170 * i // len(systems)) for i, name in enumerate(systems)
        }
        make_study(tmp_path / "study", folders, num_catch=num_catch, seed=seed, size=64)
        return tmp_path / "study"

    return make


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """``python -m monai_dgm.reader_study serve`` of a study, which can be killed and started again."""

    def __init__(self, study: Path, port: int) -> None:
        self.words = [sys.executable, "-m", "monai_dgm.reader_study", "serve", str(study), "--port", str(port)]
        self.address = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.process = subprocess.Popen(self.words, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(self.address, timeout=5).close()
                return
            except (urllib.error.URLError, OSError):
                assert self.process.poll() is None and time.monotonic() < end, "the server did not start"
                time.sleep(0.1)

    def kill(self) -> None:
        """End it without notice."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def new_server() -> Iterator[Callable[[Path], Server]]:
    started: list[Server] = []

    def serve(study: Path) -> Server:
        started.append(Server(study, free_port()))
        started[-1].start()
        return started[-1]

    yield serve
    for one in started:
        one.kill()
