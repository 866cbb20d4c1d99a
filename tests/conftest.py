"""What all tests share: one torch thread, a fixed seed, and where data comes from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before torch is imported, and inherited by the processes that tests start: pytest-xdist's workers share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest
import torch
from filelock import FileLock

from tests.browser import BROWSER_ARGUMENTS, find_browser
from tests.programs import REPOSITORY, Programs


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """For ``--dist loadgroup``: the tests of a file stay together, and those of the viewer, which share servers."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        folder = item.path.parent
        group = folder if folder.name == "ohif" else item.path
        item.add_marker(pytest.mark.xdist_group(os.path.relpath(group, REPOSITORY)))


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random state, whichever tests ran before it."""
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A Chromium without tabs; one for all tests of a process, for Playwright runs only once in it."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    program = find_browser()
    if program is None:
        pytest.skip("there is no Chromium (apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=BROWSER_ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def programs() -> Iterator[Programs]:
    """Starts programs of Python without their imports."""
    started = Programs()
    yield started
    started.close()


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real radiographs (cxr/manifest.csv, dicom/manifest.csv), which are not part of the repository.

    Taken from the environment variable MONAI_DGM_REAL_DATA, else from ``shared/data`` beside the repository.
    """
    folder = Path(os.environ.get("MONAI_DGM_REAL_DATA") or REPOSITORY.parent / "shared" / "data")
    if not (folder / "cxr" / "manifest.csv").is_file():
        pytest.skip(f"no real radiographs in {folder} (set MONAI_DGM_REAL_DATA)")
    return folder


@pytest.fixture(scope="session")
def sample_dir(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small embedded sample: 24 simulated patients at 64 px, with their truth. Read it, do not write into it."""
    from monai_dgm.data.simulator.sample import write_sample

    root = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):  # pytest-xdist: one sample serves all workers
        root = root.parent
    with FileLock(root / "sample.lock"):
        return write_sample(root / "sample", num_patients=24, size=64, seed=0)
