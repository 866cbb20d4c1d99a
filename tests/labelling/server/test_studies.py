from __future__ import annotations

import io
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_dgm.errors import InputError
from monai_dgm.labelling.server.http_errors import ConflictError, TooLargeError, UnknownError
from monai_dgm.labelling.server.studies import RESCAN_SECONDS, Rescan, StudyFolder, image_id_of

HOSTILE = ["../a", "a.png", "/etc/passwd", "sub/c", "..", "sub__../a", "A", "a\0", "", "x" * 300, "~root", "%2e%2e/a"]


def png(rows: int = 20, cols: int = 30) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(rows * cols, dtype=np.uint8).reshape(rows, cols)).save(buffer, "PNG")
    return buffer.getvalue()


def bomb(rows: int, cols: int) -> bytes:
    """A PNG whose header promises more than there is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", cols, rows, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def test_ids_come_from_the_path_alone(folder: Path) -> None:
    assert StudyFolder(folder).ids() == ["a", "b", "sub__c"]
    assert image_id_of("x/y.nii.gz") == "x__y"
    assert image_id_of("1.2.840.1") == "1.2.840.1"


@pytest.mark.parametrize("image_id", HOSTILE)
def test_what_is_not_listed_is_not_found(folder: Path, image_id: str) -> None:
    (folder.parent / "a.png").write_bytes(png())
    with pytest.raises(InputError) as caught:
        StudyFolder(folder).read(image_id)
    assert str(folder) not in str(caught.value)


def test_links_out_of_the_folder_and_hidden_files_are_left_out(folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(png())
    (folder / "link.png").symlink_to(outside / "secret.png")
    (folder / "linked").symlink_to(outside)
    (folder / ".hidden.png").write_bytes(png())
    studies = StudyFolder(folder)
    assert studies.ids() == ["a", "b", "sub__c"]
    assert studies.left_out == 1


def test_a_file_that_becomes_a_link_is_not_followed(folder: Path) -> None:
    studies = StudyFolder(folder)
    assert studies.read("a")[0].format == "png"
    (folder.parent / "secret.png").write_bytes(png())
    (folder / "a.png").unlink()
    (folder / "a.png").symlink_to(folder.parent / "secret.png")
    with pytest.raises(UnknownError):
        studies.read("a")


def test_two_files_of_one_id_are_both_left_out(folder: Path) -> None:
    (folder / "a.jpg").write_bytes((folder / "b.jpg").read_bytes())
    studies = StudyFolder(folder)
    assert studies.ids() == ["b", "sub__c"]
    assert studies.left_out == 2


def test_new_files_are_seen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_dgm.labelling.server.studies.RESCAN_SECONDS", 0.0)
    studies = StudyFolder(folder)
    before = studies.find("a").stamp
    (folder / "d.png").write_bytes(png())
    (folder / "a.png").write_bytes(png())
    assert "d" in studies.ids()
    assert studies.find("a").stamp != before


def test_what_is_too_large_is_not_decoded(folder: Path) -> None:
    (folder / "bomb.png").write_bytes(bomb(10_000, 10_000))
    with pytest.raises(InputError, match="^image: expected at most 64000000 pixels, got 10000 x 10000"):
        StudyFolder(folder).read("bomb")
    (folder / "bomb.png").write_bytes(bomb(60_000, 60_000))
    with pytest.raises(InputError, match="^image: "):  # the decoder itself refuses
        StudyFolder(folder).read("bomb")
    with pytest.raises(TooLargeError):
        StudyFolder(folder, max_bytes=100).read("a")


def test_an_image_is_added_once(folder: Path) -> None:
    studies = StudyFolder(folder)
    studies.add("new", png(), ".PNG")
    assert studies.ids() == ["a", "b", "new", "sub__c"]
    for name in ("new", "a"):
        with pytest.raises(ConflictError):
            studies.add(name, png(), ".png")
    with pytest.raises(ConflictError):  # another suffix: the id is what counts
        studies.add("a", png(), ".jpg")


@pytest.mark.parametrize("name", [*HOSTILE[:1], *HOSTILE[2:6], "x/y", ".x"])
def test_nothing_is_added_under_a_path(folder: Path, name: str) -> None:
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(InputError):
        StudyFolder(folder).add(name, png(), ".png")
    assert sorted(folder.parent.rglob("*")) == before


@pytest.mark.parametrize("content", [b"", b"hello", bomb(60_000, 60_000), png()[:50], b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_radiograph_is_not_added(folder: Path, content: bytes) -> None:
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(InputError) as caught:
        StudyFolder(folder).add("new", content, ".png")
    assert sorted(folder.parent.rglob("*")) == before
    assert str(folder) not in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError, match="ends in"):
        StudyFolder(folder).add("new", png(), ".exe")
    with pytest.raises(TooLargeError, match="at most 10 bytes"):
        StudyFolder(folder, max_bytes=10).add("new", png(), ".png")
    assert sorted(folder.parent.rglob("*")) == before


def test_a_listing_is_due_at_first_and_then_after_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    again = Rescan()
    assert again.due and again.due
    again.done()
    assert not again.due
    now = RESCAN_SECONDS - 0.1
    assert not again.due
    now = RESCAN_SECONDS
    assert again.due
    again.done()
    assert not again.due


def test_a_mistyped_folder_is_an_error_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="studies: expected a folder"):
        StudyFolder(tmp_path / "studeis")
    assert not (tmp_path / "studeis").exists()


def test_a_radiograph_is_deleted(folder: Path) -> None:
    studies = StudyFolder(folder)
    studies.remove("a")
    assert studies.ids() == ["b", "sub__c"] and not (folder / "a.png").exists()
    with pytest.raises(UnknownError):
        studies.remove("a")
