"""`monai-dgm archive` passes on what it is given; what the run does is in tests/archive."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monai_dgm.archive.run import ArchiveJob, Cluster
from tests.archive.conftest import run_here, write_picture
from tests.decomposers import write_decomposer

pq = pytest.importorskip("pyarrow.parquet")


def test_a_run_and_what_it_would_take(command: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clusters: list[Cluster] = []

    def run(job: ArchiveJob, cluster: Cluster, retry_failed: bool = False) -> Iterator[dict[str, int]]:
        clusters.append(cluster)
        yield {"new": 2}
        yield run_here(job, retry_failed)

    monkeypatch.setattr(ArchiveJob, "run", run)
    write_decomposer(tmp_path / "bundles" / "dgm" / "models")
    write_picture(tmp_path / "in" / "one.png", 1)
    (tmp_path / "in" / "two.png").write_bytes(b"no picture")
    words = ("archive", tmp_path / "in", tmp_path / "out", "--bundles", tmp_path / "bundles", "--runtime", "torch")
    before = json.loads(command(*words, "--dry-run", "--json", "--workers", "3").stdout)
    assert (before["listed"], before["new"], before["failed"], before["workers"]) == (2, 2, 1, 3)
    finished = command(*words, "--json", "--address", "10.0.0.1:6379", "--workers", "3")
    assert finished.status == 1  # one could not be used
    total = json.loads(finished.stdout)
    assert (total["new"], total["done"], total["failed"]) == (2, 1, 1)
    assert clusters == [Cluster("10.0.0.1:6379", 3)]
    rows = pq.read_table(tmp_path / "out" / "images").to_pylist()
    assert sorted(row["status"] for row in rows) == ["done", "failed"]
    assert json.loads(command(*words, "--dry-run", "--json").stdout)["new"] == 0


def test_a_login_without_a_password_is_refused(
    command: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONAI_DGM_ARCHIVE_LOGIN", "nobody")
    write_decomposer(tmp_path / "bundles" / "dgm" / "models")
    finished = command("archive", tmp_path, tmp_path / "out", "--bundles", tmp_path / "bundles", "--runtime", "torch")
    assert finished.status == 2 and "MONAI_DGM_ARCHIVE_LOGIN: expected user:password" in finished.stderr
