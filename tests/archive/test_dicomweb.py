"""An archive as the source, and as what gets the DICOM objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from monai_dgm.archive.image_files import ImageFiles
from monai_dgm.archive.result_objects import ObjectSender
from monai_dgm.archive.run import ArchiveJob
from monai_dgm.archive.settings import ArchiveSettings
from tests.archive.conftest import rows_in, run_here
from tests.labelling.fake_archive import PATIENT, FakeArchive, radiograph, serving

pytest.importorskip("highdicom")


@pytest.fixture
def archive() -> Iterator[FakeArchive]:
    with serving(FakeArchive()) as served:
        for key in ("one", "three"):
            served.add(radiograph(key))
        yield served


@pytest.fixture
def sending(settings: ArchiveSettings, archive: FakeArchive, tmp_path: Path) -> ArchiveJob:
    """A job that reads from the archive and sends objects to it."""
    return ArchiveJob.of(archive.url, tmp_path / "out", replace(settings, stow=archive.url), archive.url)


def test_rows_of_an_archive_hold_uids_and_no_other_identity(sending: ArchiveJob, archive: FakeArchive) -> None:
    images = [str(header.SOPInstanceUID) for header in archive.of("DX")]
    assert run_here(sending)["done"] == 2
    rows = rows_in(sending)
    assert [row["identifier"] for row in rows] == sorted(images)
    assert all(row["objects"] == 3 for row in rows)
    assert len(archive.of("SR")) == 2 and len(archive.of("OT")) == 4
    for path in sending.parts.paths():
        assert PATIENT.encode() not in path.read_bytes()
    assert run_here(sending) == {} and len(archive.instances) == 8


def test_objects_are_stored_once_however_often_they_are_sent(sending: ArchiveJob, archive: FakeArchive) -> None:
    with sending.parts.writer():
        new, (read, run, store) = sending.prepare()
        work = run(read(new))
        store(work)
        store(work)
    assert len(archive.instances) == 8 and len(rows_in(sending)) == 2


def test_an_archive_that_stays_away_is_told_and_tried_again(sending: ArchiveJob, archive: FakeArchive) -> None:
    sending.sender = ObjectSender(ImageFiles("http://127.0.0.1:9/dicom-web"), patience=0)
    assert run_here(sending)["unsent"] == 2
    assert {row["status"] for row in rows_in(sending)} == {"unsent"}
    sending.sender = ObjectSender(ImageFiles(archive.url))
    assert run_here(sending)["done"] == 2
    assert {row["status"] for row in rows_in(sending)} == {"done"} and len(rows_in(sending)) == 2


def test_a_busy_archive_is_waited_for(archive: FakeArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    from monai_dgm.labelling.dicom_objects.derived import encode_dicom

    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        archive.fail = 503 if len(waited) < 3 else 0

    archive.fail = 503
    monkeypatch.setattr("monai_dgm.archive.result_objects.time.sleep", wait)
    extra = encode_dicom(radiograph("another"))
    assert ObjectSender(ImageFiles(archive.url)).send([extra]) == 1
    assert len(waited) == 3 and waited[2] > waited[0] and len(archive.instances) == 3


def test_what_the_archive_does_not_give_now_is_tried_again(sending: ArchiveJob, archive: FakeArchive) -> None:
    with sending.parts.writer():
        new, (read, run, store) = sending.prepare()
        archive.fail = 503
        assert store(run(read(new)))["unread"] == 2
        archive.fail = 0
    assert run_here(sending)["done"] == 2
    assert {row["status"] for row in rows_in(sending)} == {"done"}
