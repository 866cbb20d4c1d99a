"""The cache: decoded once, never half of one, never the wrong one."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_dgm.data import cache as cache_module
from monai_dgm.data import decode as decode_module
from monai_dgm.data.cache import RadiographCache
from monai_dgm.data.cache_file import ArrayWriter
from monai_dgm.data.decode import to_float32
from monai_dgm.errors import InputError
from monai_dgm.readers.read import read_radiograph
from monai_dgm.transforms.geometry import prepare_radiograph

from .conftest import write_image

Datalist = list[dict[str, Any]]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded."""
    names: list[str] = []
    decode_file = decode_module.decode_file

    def count(path: str, settings: Any) -> Any:
        names.append(Path(path).name)
        return decode_file(path, settings)

    monkeypatch.setattr(decode_module, "decode_file", count)
    return names


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.npy"))


def test_images_and_geometries_are_those_of_the_files(datalist: Datalist, tmp_path: Path) -> None:
    cached = RadiographCache(tmp_path / "cache", 24).build(datalist)
    assert isinstance(cached.images, np.memmap) and cached.images.shape == (6, 24, 24)
    assert cached.images.dtype == np.uint16 and not cached.images.flags.writeable
    assert cached.kept == list(range(6)) and cached.bad == []
    for item, image, geometry in zip(datalist, cached.images, cached.geometries, strict=True):
        expected, expected_geometry = prepare_radiograph(read_radiograph(item["image"]).pixels, 24)
        assert geometry == expected_geometry
        assert np.abs(to_float32(image) - expected[0]).max() <= 1.01 / 65535
        assert to_float32(image).min() == -1 and to_float32(image).max() == 1


def test_decoded_once(datalist: Datalist, tmp_path: Path, decoded: list[str]) -> None:
    for _ in range(2):
        RadiographCache(tmp_path / "cache", 24).build(datalist)
    assert len(decoded) == 6 and len(files(tmp_path / "cache")) == 1


def test_parts_of_a_datalist_are_copied_not_decoded(datalist: Datalist, tmp_path: Path, decoded: list[str]) -> None:
    cache = RadiographCache(tmp_path / "cache", 24)
    whole = cache.build(datalist)
    part = cache.build(datalist[4:1:-1])
    assert np.array_equal(part.images, whole.images[4:1:-1]) and part.geometries == whole.geometries[4:1:-1]
    assert len(decoded) == 6


@pytest.mark.parametrize(
    "settings", [{"size": 25}, {"fit": "stretch"}, {"percentiles": None}, {"percentiles": (1, 99)}]
)
def test_settings_are_part_of_the_key(datalist: Datalist, tmp_path: Path, settings: dict[str, Any]) -> None:
    first = RadiographCache(tmp_path / "cache", 24).build(datalist)
    second = RadiographCache(tmp_path / "cache", **{"size": 24, **settings}).build(datalist)
    assert first.path != second.path and len(files(tmp_path / "cache")) == 2


def test_content_is_the_key_not_name_or_place(datalist: Datalist, tmp_path: Path, decoded: list[str]) -> None:
    cache = RadiographCache(tmp_path / "cache", 24)
    first = cache.build(datalist)
    for item in datalist:
        item["image"] = str(Path(item["image"]).rename(tmp_path / f"moved_{item['image_id']}.png"))
    assert cache.build(datalist).path == first.path and len(decoded) == 6
    write_image(Path(datalist[2]["image"]), seed=99)
    changed = cache.build(datalist)
    assert changed.path != first.path and decoded[6:] == ["moved_2.png"]
    assert not np.array_equal(changed.images[2], first.images[2])


def test_names_tell_nothing_of_the_patients(datalist: Datalist, tmp_path: Path) -> None:
    path = write_image(tmp_path / "Doe_Jane.png", 5)
    cached = RadiographCache(tmp_path / "cache", 24).build([{"image": str(path)}])
    for file in (tmp_path / "cache").iterdir():
        assert "Doe" not in file.name and b"Doe" not in file.read_bytes()
    assert cached.path.parent == tmp_path / "cache"


@pytest.mark.parametrize("damage", ["cut", "longer", "header", "image", "empty", "missing"])
def test_a_damaged_array_is_made_again(datalist: Datalist, tmp_path: Path, decoded: list[str], damage: str) -> None:
    cache = RadiographCache(tmp_path / "cache", 24)
    before = cache.build(datalist)
    good = before.path.read_bytes()
    images = 6 * 24 * 24 * 2
    before.path.unlink()
    if damage != "missing":
        damaged = {
            "cut": good[: len(good) // 2],
            "longer": good + b"more",
            "header": good.replace(b"<u2", b"<i2"),
            "image": good[:-images] + bytes(images),
            "empty": b"",
        }[damage]
        before.path.write_bytes(damaged)
    after = cache.build(datalist)
    assert len(decoded) == 12 and after.path.read_bytes() == good


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "missing"])
def test_images_with_a_damaged_description_are_made_again(
    datalist: Datalist, tmp_path: Path, decoded: list[str], damage: str
) -> None:
    cache = RadiographCache(tmp_path / "cache", 24)
    path = cache.build(datalist).path.with_suffix(".json")
    good = path.read_bytes()
    path.unlink()
    if damage != "missing":
        damaged = {"cut": good[:-9], "changed": good.replace(b"pad", b"bad"), "empty": b""}[damage]
        assert damaged != good
        path.write_bytes(damaged)
    cache.build(datalist)
    assert len(decoded) == 12 and path.read_bytes() == good


def test_bad_files_are_counted_or_left_out(datalist: Datalist, tmp_path: Path, decoded: list[str]) -> None:
    Path(datalist[1]["image"]).write_bytes(b"no image")
    Path(datalist[3]["image"]).unlink()
    Path(datalist[4]["image"]).write_bytes(b"")
    cache = RadiographCache(tmp_path / "cache", 24)
    with pytest.raises(InputError, match=r"3\.png: expected a readable file"):
        cache.build(datalist)
    for _ in range(2):
        cached = cache.build(datalist, skip_bad=True)
        assert cached.kept == [0, 2, 5] and len(cached.images) == 3
        assert sorted(Path(path).name for path, _ in cached.bad) == ["1.png", "3.png", "4.png"]
        assert all(path in reason for path, reason in cached.bad)
    assert decoded.count("0.png") == 1, "what was good is not decoded again"
    Path(datalist[1]["image"]).unlink()
    write_image(Path(datalist[1]["image"]), 1)
    assert cache.build(datalist, skip_bad=True).kept == [0, 1, 2, 5]
    assert not list((tmp_path / "cache").glob("*.partial"))


def test_the_first_bad_file_is_named_and_the_rest_counted(datalist: Datalist, tmp_path: Path) -> None:
    for number in (2, 4, 5):
        Path(datalist[number]["image"]).write_bytes(b"no image")
    with pytest.raises(InputError) as caught:
        RadiographCache(tmp_path / "cache", 24).build(datalist)
    assert str(caught.value).startswith(datalist[2]["image"]) and "2 more of 6 files" in str(caught.value)
    assert files(tmp_path / "cache") == []
    for item in datalist:
        Path(item["image"]).write_bytes(b"no image")
    with pytest.raises(InputError, match="5 more of 6 files"):
        RadiographCache(tmp_path / "cache", 24).build(datalist, skip_bad=True)
    with pytest.raises(InputError, match="expected at least one radiograph"):
        RadiographCache(tmp_path / "cache", 24).build([])


@pytest.mark.parametrize("where", ["fallocate", "append", "finish", "mkdir", "fingerprints"])
def test_a_full_disk_names_folder_and_bytes(
    datalist: Datalist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = tmp_path / "cache"
    if where == "fallocate":
        monkeypatch.setattr(os, "posix_fallocate", full)
    elif where == "mkdir":
        monkeypatch.setattr(Path, "mkdir", full)
    elif where == "fingerprints":
        monkeypatch.setattr(cache_module.Fingerprints, "save", full)
    elif where == "finish":
        monkeypatch.setattr(os, "fsync", full)
        monkeypatch.setattr(cache_module.Fingerprints, "save", lambda self: None)
    else:
        make = ArrayWriter.__init__

        def make_full(self: ArrayWriter, *arguments: Any) -> None:
            make(self, *arguments)
            stream = self._stream

            class Full:
                closed = False
                write = staticmethod(full)
                close = stream.close

            self._stream = Full()  # type: ignore[assignment]

        monkeypatch.setattr(ArrayWriter, "__init__", make_full)
    with pytest.raises(InputError) as caught:
        RadiographCache(folder, 24).build(datalist)
    message = str(caught.value)
    assert message.startswith(str(folder)) and f"expected {6 * 24 * 24 * 2} bytes" in message and "\n" not in message
    monkeypatch.undo()
    assert files(folder) == [] and not list(folder.glob("*.partial"))
    assert len(RadiographCache(folder, 24).build(datalist).images) == 6


def test_a_pickle_holds_the_place_not_the_images(datalist: Datalist, tmp_path: Path) -> None:
    cached = RadiographCache(tmp_path / "cache", 128).build(datalist)
    text = pickle.dumps(cached)
    assert len(text) < 20_000 < cached.images.nbytes
    assert np.array_equal(pickle.loads(text).images, cached.images)  # noqa: S301 - our own


SLOW = """
import sys, time
from monai_dgm.data import decode
from monai_dgm.data.cache import RadiographCache
original = decode.decode_file
def slow(path, settings):
    print("decoding", flush=True)
    time.sleep(float(sys.argv[3]))
    return original(path, settings)
decode.decode_file = slow
cached = RadiographCache(sys.argv[1], 24).build([{"image": path} for path in sys.argv[4:]])
print("built", int(cached.images.sum()), flush=True)
"""


def start(cache_dir: Path, datalist: Datalist, seconds: float) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", SLOW, str(cache_dir), "-", str(seconds), *(item["image"] for item in datalist)]
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment)


def test_two_processes_build_one_file(datalist: Datalist, tmp_path: Path) -> None:
    builders = [start(tmp_path / "cache", datalist, 0.05) for _ in range(2)]
    outputs = [builder.communicate(timeout=60)[0].splitlines() for builder in builders]
    assert sum(output.count("decoding") for output in outputs) == 6
    assert outputs[0][-1] == outputs[1][-1] and outputs[0][-1].startswith("built")
    assert len(files(tmp_path / "cache")) == 1


UNGUARDED = """
import sys
from monai_dgm.data import decode
from monai_dgm.data.cache import RadiographCache
decode.MIN_PARALLEL = 1
RadiographCache(sys.argv[1], 24, num_workers=2).build([{"image": path} for path in sys.argv[2:]])
"""


def test_a_script_without_main_guard_ends_with_the_reason(datalist: Datalist, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED, encoding="utf-8")
    command = [sys.executable, script, tmp_path / "cache", *(item["image"] for item in datalist)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert ended.returncode == 1
    assert "main script without `if __name__ == '__main__':`; num_workers=0" in ended.stderr.splitlines()[-1]


def test_a_killed_builder_leaves_nothing_that_is_trusted(datalist: Datalist, tmp_path: Path) -> None:
    builder = start(tmp_path / "cache", datalist, 0.2)
    assert builder.stdout is not None
    for _ in range(3):
        builder.stdout.readline()
    builder.send_signal(signal.SIGKILL)
    builder.communicate(timeout=60)
    assert files(tmp_path / "cache") == [] and list((tmp_path / "cache").glob("*.partial"))
    begin = time.monotonic()
    cached = RadiographCache(tmp_path / "cache", 24).build(datalist)
    assert time.monotonic() - begin < 5 and len(cached.images) == 6
    assert not list((tmp_path / "cache").glob("*.partial"))
    for image, item in zip(cached.images, datalist, strict=True):
        assert np.array_equal(image, RadiographCache(tmp_path / "fresh", 24).build([item]).images[0])
