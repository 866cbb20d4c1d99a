"""Programs of Python that start at once, in the place of ``subprocess`` with ``sys.executable``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Finished:
    """A program that has ended."""

    returncode: int
    stdout: str
    stderr: str


class Program:
    """A program that was started, with what tests use of ``subprocess.Popen``."""

    def __init__(self, programs: Programs, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._programs = programs

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None as long as it runs."""
        if self.returncode is None:
            self.returncode = self._programs.ask({"status": self.pid})
        return self.returncode

    def wait(self, timeout: float = 600.0) -> int:
        """Its exit status, when it has ended. What runs longer than ``timeout`` seconds is killed.

        Raises:
            subprocess.TimeoutExpired: it was killed.
        """
        end = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > end:
                self.kill()
                self.wait()
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.01)
        return status

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class Programs:
    """Runs programs in forks of tests/fork_server.py, which has imported torch and MONAI."""

    def __init__(self) -> None:
        # MONAI warns of every configuration file that it runs what is in it; what is ours is what is left.
        environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(REPOSITORY)}
        words = [sys.executable, str(Path(__file__).with_name("fork_server.py"))]
        self._server = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._lock = threading.Lock()

    def start(
        self,
        words: Sequence[object],
        env: Mapping[str, str] | None = None,
        cwd: Path = REPOSITORY,
        stdout: Path | str = os.devnull,
        stderr: Path | str = os.devnull,
    ) -> Program:
        """Start ``python WORDS``: a file, or -m and a module, and their arguments.

        Args:
            words: those behind ``python``.
            env: all of its environment; None for that of this process.
            cwd: its folder.
            stdout, stderr: files that its output is appended to.
        """
        where = {"cwd": str(cwd), "stdout": str(stdout), "stderr": str(stderr)}
        return Program(
            self, self.ask({"words": [str(word) for word in words], "env": dict(env or os.environ), **where})
        )

    def run(self, words: Sequence[object], timeout: float = 600.0, **others: Any) -> Finished:
        """:meth:`start`, and wait for the end."""
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder, name) for name in ("stdout", "stderr")]
            code = self.start(words, stdout=files[0], stderr=files[1], **others).wait(timeout)
            return Finished(code, *(file.read_text() for file in files))

    def ask(self, request: Any) -> Any:
        """The server's answer to a request."""
        assert self._server.stdin is not None and self._server.stdout is not None
        with self._lock:
            self._server.stdin.write(json.dumps(request) + "\n")
            self._server.stdin.flush()
            return json.loads(self._server.stdout.readline())

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()
