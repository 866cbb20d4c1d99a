"""The command in this process: torch and MONAI are imported already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from monai_dgm.cli.app import main


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    status: int
    stdout: str
    stderr: str


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finished]:
    """command("decompose", "chest.png", ...): runs ``monai-dgm`` with these arguments."""
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)  # the test's own log stays

    def run(*arguments: object) -> Finished:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Finished(int(ended.value.code or 0), captured.out, captured.err)

    return run
