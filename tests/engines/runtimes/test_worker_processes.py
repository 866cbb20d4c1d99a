"""Worker processes that read files are forked beside the threads of a runtime, and end while the runtime goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from monai_dgm.engines.runtimes.installed import EXACT, installed_runtimes
from tests.engines.written_radiographs import write_png
from tests.programs import Programs

# For each runtime a run without processes, which starts the threads and closes its sessions, and one with them.
RUN_TWICE = """
import gc, sys
from pathlib import Path
import torch
from monai_dgm.cli.models import run_over_files
from monai_dgm.engines.pipeline_loading import load_pipeline
from monai_dgm.handlers.decomposition_saver import DecompositionSaver
source, target, decomposer, lungs, *runtimes = sys.argv[1:]
torch.set_num_threads(2)  # threads of PyTorch's own, too
for runtime in runtimes:
    for workers in (0, 2):
        pipeline = load_pipeline(decomposer, lungs)
        output = Path(target, runtime, str(workers))
        options = {"num_workers": workers, "runtime": runtime, "outputs": "scores"}
        run_over_files(DecompositionSaver, Path(source), output, pipeline, 2, **options)
        del pipeline
        gc.collect()
"""


@pytest.mark.slow  # of exports
def test_processes_beside_the_threads_of_each_runtime(
    programs: Programs, models: dict[str, Path], exports: Path, tmp_path: Path
) -> None:
    runtimes = [name for name in EXACT if name in installed_runtimes()]
    for i in range(6):
        write_png(tmp_path / f"in/{i}.png", np.random.default_rng(i).integers(0, 256, (64, 48), np.uint8))
    files = [str(models[name]) for name in ("decomposer", "lungs")]
    script = tmp_path / "run_twice.py"
    script.write_text(RUN_TWICE)
    # a lock that a fork keeps would wait for ever
    done = programs.run([script, tmp_path / "in", tmp_path / "out", *files, *runtimes], timeout=600)
    assert done.returncode == 0, done.stderr
    for runtime in runtimes:
        alone, beside = (json.loads((tmp_path / f"out/{runtime}/{n}/scores.json").read_text()) for n in (0, 2))
        assert [one["image_id"] for one in beside["images"]] == list("012345")
        assert beside["images"] == alone["images"]
