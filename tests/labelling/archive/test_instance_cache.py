from __future__ import annotations

import os
import stat
from pathlib import Path

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
