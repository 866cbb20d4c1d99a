from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.archive.archive_client import StudyUIDs
from monai_dgm.labelling.archive.archive_studies import AWAY_SECONDS, StudyArchive
from monai_dgm.labelling.archive.instance_index import FOR_PROCESSING
from monai_dgm.labelling.archive.wanted_images import WantedImages
from monai_dgm.labelling.dicom_objects.derived import encode_dicom
from monai_dgm.labelling.server.http_errors import (
    ArchiveAwayError,
    ForbiddenError,
    TooLargeError,
    UnknownError,
    status_of,
)
from monai_dgm.readers.read import read_radiograph
from tests.labelling.fake_archive import FakeArchive, radiograph

HOSTILE = ["../a", "..", "1.2/3", "1.2?x=1", "a", "", "x" * 300, "1.2.3", "a\0", None]


def test_images_are_instances_of_radiographs(fake_archive: FakeArchive, study_archive: StudyArchive) -> None:
    frontal = radiograph("one")
    lateral = radiograph("two", StudyInstanceUID=frontal.StudyInstanceUID, SeriesInstanceUID=frontal.SeriesInstanceUID)
    fake_archive.add(frontal, lateral, radiograph("three", Modality="CR"))
    fake_archive.add(radiograph("ct", Modality="CT"), radiograph("raw", SOPClassUID=FOR_PROCESSING))
    study_archive.refresh()
    assert len(study_archive.ids()) == 3
    uids = StudyUIDs(frontal.StudyInstanceUID, frontal.SeriesInstanceUID, lateral.SOPInstanceUID)
    assert study_archive.study_of(lateral.SOPInstanceUID) == uids
    found = study_archive.find(lateral.SOPInstanceUID)
    assert (found.image_id, found.study, found.series) == (uids.instance, uids.study, uids.series)
    in_study = {(item.uids.instance, item.rows, item.cols) for item in study_archive.in_study(uids.study)}
    assert in_study == {(frontal.SOPInstanceUID, 90, 120), (lateral.SOPInstanceUID, 90, 120)}


def test_a_radiograph_is_read_as_from_its_file(
    fake_archive: FakeArchive, study_archive: StudyArchive, tmp_path: Path
) -> None:
    image = radiograph()
    fake_archive.add(image)
    study_archive.refresh()
    (tmp_path / "x.dcm").write_bytes(encode_dicom(image))
    read, placement = study_archive.read(image.SOPInstanceUID)
    np.testing.assert_array_equal(read.pixels, read_radiograph(tmp_path / "x.dcm").pixels)
    assert (placement.rows, placement.cols, placement.spacing[0]) == (90, 120, 0.5)
    assert study_archive.header(study_archive.study_of(image.SOPInstanceUID)).PatientID == image.PatientID
    assert sum("instances/" in asked for asked in fake_archive.asked) == 1  # then it is in the cache


@pytest.mark.parametrize("image_id", HOSTILE)
def test_what_is_no_radiograph_is_not_found(fake_archive: FakeArchive, study_archive: StudyArchive, image_id) -> None:
    fake_archive.add(radiograph())
    study_archive.refresh()
    for call in (study_archive.find, study_archive.read, study_archive.in_study):
        with pytest.raises(InputError) as caught:
            call(image_id)
        assert status_of(caught.value) in (400, 404)


@pytest.mark.parametrize("searches_all", [True, False])
def test_new_and_removed_ones_are_noticed_and_known_series_are_not_asked_again(
    fake_archive: FakeArchive, study_archive: StudyArchive, searches_all: bool
) -> None:
    fake_archive.searches_all = searches_all
    first = radiograph("one")
    fake_archive.add(first)
    study_archive.refresh()
    study_archive.read(first.SOPInstanceUID)
    fake_archive.asked.clear()
    study_archive.refresh()
    assert not [asked for asked in fake_archive.asked if "/instances" in asked]
    second = radiograph("two")
    fake_archive.add(second)
    study_archive.refresh()
    assert len(study_archive.ids()) == 2
    del fake_archive.instances[first.SOPInstanceUID]
    study_archive.refresh()
    assert study_archive.ids() == [second.SOPInstanceUID] and study_archive.cache.size() == (0, 0)
    with pytest.raises(UnknownError):
        study_archive.read(first.SOPInstanceUID)


def test_no_request_of_a_user_waits_for_a_listing(fake_archive: FakeArchive, study_archive: StudyArchive) -> None:
    image = radiograph()
    fake_archive.add(image)
    assert study_archive.ids() == [] and not fake_archive.asked
    with pytest.raises(ArchiveAwayError, match="is being listed"):
        study_archive.find(image.SOPInstanceUID)
    assert study_archive.in_study(image.StudyInstanceUID) and study_archive.find(image.SOPInstanceUID)
    study_archive.refresh()
    fake_archive.asked.clear()
    with pytest.raises(UnknownError):
        study_archive.find("1.2.3")
    assert study_archive.ids() == [image.SOPInstanceUID] and not fake_archive.asked


def test_what_was_not_asked_for_is_neither_listed_nor_analysed(
    fake_archive: FakeArchive, study_archive: StudyArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = radiograph("old", StudyDate="20250101"), radiograph("new", StudyDate="20260601")
    knee = radiograph("knee", StudyDate="20260601", BodyPartExamined="KNEE")
    fake_archive.add(old, new, knee)

    def listed(wanted: WantedImages) -> set[str]:
        archive = StudyArchive(study_archive.client, study_archive.cache, wanted=wanted)
        archive.refresh()
        assert archive.asked_for() == archive.ids()
        return set(archive.ids())

    names = [item.SOPInstanceUID for item in (old, new, knee)]
    assert listed(WantedImages.of()) == set(names)
    assert listed(WantedImages.of(since="2026-01-01")) == set(names[1:])
    assert listed(WantedImages.of(since="2026-01-01", body_part="chest, thorax")) == {names[1]}
    assert listed(WantedImages.of(modalities="CR")) == set()
    monkeypatch.setattr("monai_dgm.labelling.archive.archive_studies.MAX_UNASKED", 2)
    study_archive.refresh()
    assert len(study_archive.ids()) == 3 and study_archive.asked_for() == []
    assert listed(WantedImages.of(since="all")) == set(names)


@pytest.mark.parametrize(
    "conditions",
    [{"since": "yesterday"}, {"since": "2026-13-01"}, {"query": "StudyDescription"}, {"query": "limit=1"},
     {"query": "a b=c"}, {"modalities": "CR;DX"}, {"body_part": "x" * 17}],
)  # fmt: skip
def test_conditions_that_are_none_are_refused(conditions: dict[str, str]) -> None:
    with pytest.raises(InputError, match=f"^{next(iter(conditions))}: expected "):
        WantedImages.of(**conditions)


def test_an_archive_without_counts_is_asked_each_time(fake_archive: FakeArchive, study_archive: StudyArchive) -> None:
    fake_archive.counts = False
    first = radiograph("one")
    fake_archive.add(first)
    study_archive.refresh()
    assert len(study_archive.ids()) == 1
    fake_archive.add(
        radiograph("two", SeriesInstanceUID=first.SeriesInstanceUID, StudyInstanceUID=first.StudyInstanceUID)
    )
    study_archive.refresh()
    assert len(study_archive.ids()) == 2


def test_what_is_known_is_enough_for_an_archive_that_fails_to_answer_for_a_moment(
    fake_archive: FakeArchive, study_archive: StudyArchive
) -> None:
    fake_archive.add(radiograph())
    fake_archive.fail = 500
    with pytest.raises(ArchiveAwayError):
        study_archive.refresh()
    with pytest.raises(ArchiveAwayError):  # nothing is known yet
        study_archive.ids()
    fake_archive.fail = 0
    study_archive.refresh()
    fake_archive.fail = 500
    for _ in range(2):  # the second failure does not begin the time anew
        with pytest.raises(ArchiveAwayError):
            study_archive.refresh()
        assert len(study_archive.ids()) == len(study_archive.instances()) == 1
        study_archive._failing_since -= 0.6 * AWAY_SECONDS
    for call in (study_archive.ids, study_archive.instances):
        with pytest.raises(ArchiveAwayError):
            call()


def test_an_archive_that_is_away_is_said_so_and_comes_back(
    fake_archive: FakeArchive, study_archive: StudyArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monai_dgm.labelling.archive.archive_studies.AWAY_SECONDS", 0)
    image = radiograph()
    fake_archive.add(image)
    study_archive.refresh()
    fake_archive.fail = 500
    calls: list[Callable[[], object]] = [study_archive.refresh, study_archive.ids]
    calls.append(lambda: study_archive.read(image.SOPInstanceUID))
    for call in calls:
        with pytest.raises(ArchiveAwayError):
            call()
    assert study_archive.find(image.SOPInstanceUID)  # what is known stays known
    fake_archive.fail = 0
    study_archive.refresh()
    assert len(study_archive.ids()) == 1


def test_what_is_too_large_is_not_decoded(fake_archive: FakeArchive, study_archive: StudyArchive) -> None:
    image = radiograph()
    fake_archive.add(image)
    study_archive.refresh()
    study_archive.max_pixels = 1_000
    with pytest.raises(InputError, match="^image: expected at most 1000 pixels, got 90 x 120$"):
        study_archive.read(image.SOPInstanceUID)
    study_archive.cache.purge()
    study_archive.client.max_bytes = 1_000
    with pytest.raises(TooLargeError):
        study_archive.read(image.SOPInstanceUID)


def test_another_object_than_the_one_asked_for_is_refused(
    fake_archive: FakeArchive, study_archive: StudyArchive
) -> None:
    image, other = radiograph("one"), radiograph("two")
    fake_archive.add(image, other)
    study_archive.refresh()
    fake_archive.instances[image.SOPInstanceUID] = (encode_dicom(other), image)
    with pytest.raises(InputError, match="another"):
        study_archive.header(study_archive.study_of(image.SOPInstanceUID))


def test_images_are_not_added(study_archive: StudyArchive) -> None:
    with pytest.raises(ForbiddenError):
        study_archive.add("1.2", b"", ".dcm")
