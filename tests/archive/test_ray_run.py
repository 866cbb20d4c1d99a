"""A run on Ray: a process, a machine or the driver is killed, and nothing is lost or doubled.

The cluster has two nodes on this machine; the network is as small as it comes, for it is not the point.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monai_dgm.archive.run import ArchiveJob, Cluster
from tests.archive.conftest import rows_in, run_here, write_picture

pytest.importorskip("ray")
pytestmark = pytest.mark.slow

IMAGES = 96
SECONDS = 300  # until something happens on a busy machine
DRIVER = """
import json, sys
from monai_dgm.utils.light_import import import_monai_lightly
import_monai_lightly()
from monai_dgm.archive.run import ArchiveJob, Cluster
from monai_dgm.archive.settings import ArchiveSettings
source, output, weights, chunk = json.loads(sys.argv[1])
job = ArchiveJob.of(source, output, ArchiveSettings.of(weights, runtime="torch"))
job.chunk = chunk
for counts in job.run(Cluster(sys.argv[2])):
    pass
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one core each."""
    os.environ |= {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    from ray.cluster_utils import Cluster as LocalCluster

    node = {"num_cpus": 1, "object_store_memory": 100 << 20}
    started = LocalCluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    started.second = started.add_node(**node)
    try:
        yield started
    finally:
        started.shutdown()


@pytest.fixture
def job(settings: Any, tmp_path: Path) -> ArchiveJob:
    """Many small radiographs, in chunks of four."""
    for number in range(IMAGES):
        write_picture(tmp_path / "pictures" / f"{number:03}.png", number)
    made = ArchiveJob.of(str(tmp_path / "pictures"), tmp_path / "out", settings)
    made.chunk = 4
    return made


@pytest.fixture(autouse=True)
def ends() -> Iterator[None]:
    """A run that waits for ever fails."""

    def too_late(*_: Any) -> None:
        raise TimeoutError(f"expected an end within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def check_complete(job: ArchiveJob) -> None:
    rows = rows_in(job)
    assert [row["identifier"] for row in rows] == [f"{number:03}.png" for number in range(IMAGES)]
    assert {row["status"] for row in rows} == {"done"}


def processes_with_networks(session: str) -> list[int]:
    """Of the cluster of a session folder."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and (folder / "cmdline").read_bytes().startswith(b"ray::ImagesProcess"):
                parent = (folder / "stat").read_text().rsplit(")", 1)[1].split()[1]
                if session in Path("/proc", parent, "cmdline").read_text():
                    found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_a_killed_driver_loses_and_doubles_nothing(cluster: Any, job: ArchiveJob) -> None:
    told = json.dumps([job.source, str(job.parts.folder), dict(job.settings.weights), job.chunk])
    words = [sys.executable, "-c", DRIVER, told, cluster.address]
    driver = subprocess.Popen(words, stderr=subprocess.PIPE)
    deadline = time.monotonic() + SECONDS
    while not job.parts.paths() and time.monotonic() < deadline and driver.poll() is None:
        time.sleep(0.01)
    driver.kill()
    _, errors = driver.communicate()
    written = len(job.parts.paths())
    assert 0 < written < IMAGES // job.chunk, errors.decode()[-2000:]
    run_here(job, chunk=4)
    check_complete(job)


def test_a_killed_process_and_a_lost_node_lose_and_double_nothing(cluster: Any, job: ArchiveJob) -> None:
    session = cluster.head_node.get_session_dir_path()
    run = job.run(Cluster(cluster.address))
    assert next(run) == {"new": IMAGES}
    next(run)
    killed = processes_with_networks(session)
    assert killed
    os.kill(killed[0], signal.SIGKILL)
    next(run)
    assert len(job.parts.paths()) < IMAGES // job.chunk
    cluster.remove_node(cluster.second, allow_graceful=False)
    assert all(counts["failed"] == 0 for counts in run)
    check_complete(job)
