"""Properties of monai_dgm.utils.atomic: whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from monai_dgm.utils.atomic import atomic_write


def test_target_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "scores.json"
    with atomic_write(target) as partial:
        partial.write_text("{}")
        assert not target.exists()
        assert partial.parent == target.parent
    assert target.read_text() == "{}"
    assert list(target.parent.iterdir()) == [target]


def test_existing_target_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.write_text("old")
    with atomic_write(target) as partial:
        partial.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_the_target_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "page.html"
    target.write_text("old")
    with pytest.raises(error), atomic_write(target) as partial:
        partial.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["residue.nii.gz", "image.png", "checkpoint.pt"])
def test_partial_keeps_the_suffixes_that_writers_choose_by(tmp_path: Path, name: str) -> None:
    with atomic_write(tmp_path / name) as partial:
        assert partial.name.endswith(name[name.index(".") :])
        partial.touch()


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_permissions_follow_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        with atomic_write(tmp_path / "report.txt") as partial:
            partial.write_text("")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "report.txt").stat().st_mode) == mode


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_kill_leaves_the_old_target(tmp_path: Path) -> None:
    target = tmp_path / "checkpoint.pt"
    target.write_bytes(b"old")
    script = (
        "import os, signal, sys\n"
        "from monai_dgm.utils.atomic import atomic_write\n"
        "with atomic_write(sys.argv[1]) as partial:\n"
        "    partial.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(target)], check=False).returncode < 0
    assert target.read_bytes() == b"old"


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_threads_that_write_at_once_leave_the_umask_and_the_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:

        def write(number: int) -> None:
            with atomic_write(tmp_path / f"{number}" / "file.txt") as partial:
                partial.write_text(str(number))

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(write, range(200)))
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    files = list(tmp_path.rglob("*.txt"))
    assert len(files) == 200 and {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o640}
