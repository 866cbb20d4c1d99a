from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_dgm.archive.run import ArchiveJob
from monai_dgm.archive.settings import ArchiveSettings
from tests.decomposers import write_decomposer

pytest.importorskip("pyarrow")


def write_picture(path: Path, seed: int) -> Path:
    """A radiograph-like PNG of 48 x 40 pixels, another one for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:48, :40]
    Image.fromarray((60 + 2 * y + x + random.integers(0, 20, (48, 40))).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> ArchiveSettings:
    """A small decomposer of random weights, in PyTorch."""
    weights = write_decomposer(tmp_path_factory.mktemp("decomposer"))
    return ArchiveSettings.of({"decomposer": str(weights)}, runtime="torch")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of five radiographs, one of them in a subfolder, and two files that cannot be used."""
    folder = tmp_path / "pictures"
    for number in range(4):
        write_picture(folder / f"{number}.png", number)
    write_picture(folder / "deeper" / "4.png", 4)
    (folder / "broken.png").write_bytes((folder / "0.png").read_bytes()[:200])
    (folder / "note.txt").write_text("no radiograph")
    return folder


@pytest.fixture
def make_job(settings: ArchiveSettings, pictures: Path, tmp_path: Path) -> Callable[..., ArchiveJob]:
    """make_job(source) -> a job with results in ``tmp_path/out``, by default of the pictures."""

    def make(source: str | Path = pictures, **options: object) -> ArchiveJob:
        return ArchiveJob.of(str(source), tmp_path / "out", settings, **options)

    return make


def run_here(job: ArchiveJob, retry_failed: bool = False, chunk: int = 3) -> dict[str, int]:
    """A run without Ray: the same steps in a loop."""
    total: dict[str, int] = {}
    with job.parts.writer():
        new, steps = job.prepare(retry_failed)
        read, run, store = steps
        for start in range(0, len(new), chunk):
            for name, number in store(run(read(new[start : start + chunk]))).items():
                total[name] = total.get(name, 0) + number
    return total


def rows_in(job: ArchiveJob) -> list[dict]:
    """All rows of the results, by the name of the image, as any reader of Parquet sees them."""
    import pyarrow.parquet as pq

    rows = pq.read_table(job.parts.images).to_pylist()
    return sorted(rows, key=lambda row: row["identifier"])
