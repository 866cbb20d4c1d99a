from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from monai_dgm.labelling.archive.instance_cache import DicomCache


def fill(cache: DicomCache, key: str, size: int = 100) -> None:
    with cache.file(key, lambda: key.encode().ljust(size)) as path:
        assert path.read_bytes().startswith(key.encode())


def test_an_instance_is_fetched_once(tmp_path: Path) -> None:
    cache, fetched = DicomCache(tmp_path / "cache", 1_000), []
    for _ in range(2):
        with cache.file("Doe", lambda: fetched.append(1) or b"x") as path:
            assert path.read_bytes() == b"x"
    assert len(fetched) == 1 and cache.size() == (1, 1)


def test_the_least_used_go_first(tmp_path: Path) -> None:
    cache = DicomCache(tmp_path, 250)
    fill(cache, "a")
    fill(cache, "b")
    for path, age in zip(sorted(tmp_path.glob("*.dcm"), key=lambda p: p.read_bytes()), (20, 10), strict=True):
        os.utime(path, (path.stat().st_atime - age, path.stat().st_mtime - age))
    fill(cache, "a")  # used again
    fill(cache, "c")
    assert {path.read_bytes()[:1] for path in tmp_path.glob("*.dcm")} == {b"a", b"c"}


def test_what_is_larger_than_the_cache_is_there_while_it_is_read(tmp_path: Path) -> None:
    cache = DicomCache(tmp_path, 10)
    fill(cache, "a", 1_000)
    assert cache.size() == (0, 0)


def test_a_failed_fetch_leaves_nothing(tmp_path: Path) -> None:
    cache = DicomCache(tmp_path, 1_000)
    try:
        with cache.file("a", lambda: 1 / 0):  # type: ignore[arg-type, return-value]
            pass
    except ZeroDivisionError:
        pass
    assert not list(tmp_path.iterdir())


def test_names_tell_nothing_and_nobody_else_reads(tmp_path: Path) -> None:
    cache = DicomCache(tmp_path / "cache", 1_000)
    fill(cache, "studies/1.2.840")
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert not [path for path in cache.folder.iterdir() if "840" in path.name]


def test_it_is_emptied_and_a_killed_ones_rest_goes(tmp_path: Path) -> None:
    (tmp_path / ".partial-x.dcm").write_bytes(b"half")
    cache = DicomCache(tmp_path, 1_000)
    fill(cache, "a")
    assert cache.purge() == 1 and not list(tmp_path.iterdir())


def test_its_size_is_kept_with_what_comes_and_goes(tmp_path: Path) -> None:
    cache = DicomCache(tmp_path, 250)
    for key in "ab":
        fill(cache, key)
    cache.drop("a")
    cache.drop("never there")
    fill(cache, "c")
    assert cache.size() == (2, 200)  # nothing had to go
    fill(cache, "d")
    assert cache.size() == (2, 200)


@pytest.fixture
def slow() -> Iterator[SlowFetch]:
    fetch = SlowFetch()
    yield fetch
    fetch.go.set()


class SlowFetch:
    """An archive that takes long to send an instance."""

    def __init__(self) -> None:
        self.asked, self.go, self.times = threading.Event(), threading.Event(), 0

    def __call__(self) -> bytes:
        self.times += 1
        self.asked.set()
        assert self.go.wait(30)
        return b"slow".ljust(100)


def read(cache: DicomCache, fetch: SlowFetch) -> bytes:
    with cache.file("slow", fetch) as path:
        return path.read_bytes()


def test_nobody_waits_for_the_fetch_of_another_instance(tmp_path: Path, slow: SlowFetch) -> None:
    cache = DicomCache(tmp_path, 150)
    fill(cache, "a")
    with ThreadPoolExecutor(3) as threads:
        slow_ones = [threads.submit(read, cache, slow) for _ in range(2)]
        assert slow.asked.wait(30)
        assert threads.submit(fill, cache, "b").result(30) is None  # and "a" has to go for it
        assert threads.submit(cache.drop, "a").result(30) is None
        assert cache.size() == (1, 100)
        slow.go.set()
        assert {one.result(30) for one in slow_ones} == {b"slow".ljust(100)}
    assert slow.times == 1 and cache.size() == (1, 100)


def test_a_file_that_is_read_stays_until_then(tmp_path: Path) -> None:
    cache = DicomCache(tmp_path, 150)
    with ThreadPoolExecutor(2) as threads:
        with cache.file("a", lambda: b"a" * 100) as path:
            threads.submit(fill, cache, "b").result(30)  # it goes again, and not what is read
            waiting = [threads.submit(cache.drop, "a"), threads.submit(cache.purge)]
            time.sleep(0.05)
            assert path.read_bytes() == b"a" * 100 and not any(one.done() for one in waiting)
        for one in waiting:
            one.result(30)
    assert cache.size() == (0, 0) and not list(tmp_path.iterdir())
