"""Sessions give each image its result, and leave nothing behind in the process when they are closed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from monai_dgm.engines.pipeline_loading import load_pipeline
from monai_dgm.engines.runtimes.cache import cached_export
from monai_dgm.engines.runtimes.export import export_model
from monai_dgm.engines.runtimes.sessions import open_session

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


@pytest.mark.parametrize("number", [1, 3])
def test_threads_with_their_own_images_give_what_one_thread_gives(
    number: int, models: dict[str, Path], exports: Path
) -> None:
    pytest.importorskip("openvino")
    pipeline = load_pipeline(models["decomposer"])
    file = cached_export("decomposer", models["decomposer"], "openvino", pipeline.decomposer)
    images = np.random.default_rng(0).uniform(-1, 1, (number, 1, pipeline.size, pipeline.size)).astype(np.float32)
    found = open_session(file, threads=2, batched=True)(images)
    alone = open_session(file, threads=1)
    for whole, *ones in zip(found, *(alone(image[None]) for image in images), strict=True):
        np.testing.assert_allclose(whole, np.concatenate(ones), rtol=0, atol=2e-5)
