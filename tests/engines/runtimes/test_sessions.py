"""Sessions that are closed must leave nothing behind in the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from monai_dgm.engines.runtimes.export import export_model

OPEN_CLOSE_SIGNAL = """
import gc, os, signal, sys
from pathlib import Path
from monai_dgm.engines.runtimes.sessions import open_session
got = []
signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
first, second = open_session(Path(sys.argv[1])), open_session(Path(sys.argv[1]))
del first
gc.collect()
del second
gc.collect()
os.kill(os.getpid(), signal.SIGUSR1)
assert got == [1]
"""


def test_a_signal_arrives_after_sessions_of_openvino_were_closed(models: dict[str, Path], tmp_path: Path) -> None:
    # the end of a loader's worker process is such a signal; with a core for each session it was a segmentation fault
    pytest.importorskip("openvino")
    file = export_model(models["decomposer"], tmp_path, "openvino")
    done = subprocess.run(
        [sys.executable, "-c", OPEN_CLOSE_SIGNAL, str(file)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
