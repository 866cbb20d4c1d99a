from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from monai_dgm.labelling.archive import reports as reports_module
from monai_dgm.labelling.archive.archive_state import ArchiveState
from monai_dgm.labelling.archive.archive_studies import StudyArchive
from monai_dgm.labelling.archive.reports import SOURCE, ArchiveReports
from monai_dgm.labelling.dicom_objects.derived import Algorithm
from monai_dgm.labelling.labels.image_label import ImageLabel, LabelledBox, as_array
from monai_dgm.labelling.server.http_errors import ArchiveAwayError, UnknownError
from monai_dgm.labelling.server.submissions import MODEL_READER, Submissions
from monai_dgm.transforms.placement import Placement
from tests.labelling.dicom_objects.study import area, code, comment, corners, group, item, region, report
from tests.labelling.fake_archive import FakeArchive, as_file, radiograph

READER = "Roe^Ann"
BOX, MOVED, OTHER = (10.0, 10.0, 40.0, 50.0), (12.0, 11.0, 43.0, 52.0), (60.0, 20.0, 90.0, 60.0)


@pytest.fixture
def image(fake_archive: FakeArchive, study_archive: StudyArchive) -> pydicom.Dataset:
    dataset = radiograph()
    fake_archive.add(dataset)
    study_archive.refresh()
    return dataset


@pytest.fixture
def reports(study_archive: StudyArchive, tmp_path: Path) -> ArchiveReports:
    folder = tmp_path / "state"
    return ArchiveReports(study_archive, Submissions(folder), ArchiveState(folder / "a.sqlite"))


def drawn(image: pydicom.Dataset, *boxes: tuple[float, ...], person: str = READER, **tags: Any) -> pydicom.Dataset:
    """A report as OHIF saves it: the region under the area."""
    groups = [group(area(region(image, "POLYLINE", corners(*box))), comment("opacity")) for box in boxes]
    return as_file(report(image, *groups, person=person, **tags))


def show(reports: ArchiveReports, image: pydicom.Dataset, *boxes: tuple[float, ...]) -> None:
    labelled = [LabelledBox(box, "lung_opacity", 0.5 + i / 10) for i, box in enumerate(boxes)]
    placement = Placement.from_spacing(90, 120)
    reports.submissions.remember(labelled, image.SOPInstanceUID, placement, MODEL_READER, "model-1")


def label(reports: ArchiveReports, image: pydicom.Dataset, reader: str = READER) -> ImageLabel:
    found = reports.submissions.labels.get(image.SOPInstanceUID, reader)
    assert found is not None
    return found


def test_a_saved_report_is_a_label(fake_archive: FakeArchive, image, reports: ArchiveReports) -> None:
    show(reports, image, BOX, OTHER)
    fake_archive.add(drawn(image, MOVED, (100.0, 60.0, 118.0, 88.0)))
    assert reports.update() == 1
    kept = label(reports, image)
    np.testing.assert_allclose(as_array(kept.boxes), [MOVED, (100, 60, 118, 88)], atol=1e-3)
    assert (kept.source, kept.status, kept.size, kept.model_version) == (SOURCE, "boxes", (90, 120), "model-1")
    assert [box.score for box in kept.boxes] == [0.5, None]  # the first is the model's, moved; the other was deleted
    assert len(kept.model_boxes or ()) == 2
    assert reports.update() == 0 and sum(image.StudyInstanceUID in asked for asked in fake_archive.asked) > 0


def test_each_report_is_fetched_once(fake_archive: FakeArchive, image, reports: ArchiveReports) -> None:
    fake_archive.add(drawn(image, BOX))
    reports.update()
    reports.archive.cache.purge()
    fake_archive.asked.clear()
    again = ArchiveReports(reports.archive, reports.submissions, ArchiveState(reports.state.path))
    assert again.update() == 0 and not [asked for asked in fake_archive.asked if "/instances/" in asked]


@pytest.mark.parametrize("order", [1, -1])
def test_the_last_report_of_a_reader_counts(
    fake_archive: FakeArchive, image, reports: ArchiveReports, order: int
) -> None:
    """By arrival: a clock that is wrong does not hide a later report."""
    for one in [drawn(image, BOX, ContentTime="100000"), drawn(image, OTHER, ContentTime="110000")][::order]:
        fake_archive.add(one)
        reports.update()
    last = OTHER if order == 1 else BOX
    np.testing.assert_allclose(as_array(label(reports, image).boxes), [last], atol=1e-3)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("at_once", [1, 200])
def test_of_reports_that_are_found_together_the_newest_counts(
    fake_archive: FakeArchive, image, reports: ArchiveReports, order: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports_module, "AT_ONCE", at_once)
    for one in [drawn(image, BOX, ContentTime="100000"), drawn(image, OTHER, ContentTime="110000")][::order]:
        fake_archive.add(one)
    reports.update()
    reports.update()
    np.testing.assert_allclose(as_array(label(reports, image).boxes), [OTHER], atol=1e-3)


def test_where_users_log_in_a_report_is_of_the_user_who_sent_it(fake_archive: FakeArchive, image, reports) -> None:
    reports.by_login = True
    sent, direct = drawn(image, BOX), drawn(image, OTHER)  # both say that Roe^Ann is the author
    assert reports.state.store_sender(str(sent.SOPInstanceUID), "rita") == "rita"
    assert reports.state.store_sender(str(sent.SOPInstanceUID), "rolf") == "rita"  # whoever was first
    fake_archive.add(sent, direct)
    assert reports.update() == 1
    np.testing.assert_allclose(as_array(label(reports, image, "rita").boxes), [BOX], atol=1e-3)
    assert reports.submissions.labels.get(image.SOPInstanceUID, READER) is None
    assert reports.state.counts()["reports"] == {"stored": 1, "of nobody who logged in": 1}


def test_readers_are_kept_apart_and_ohif_names_nobody(fake_archive: FakeArchive, image, reports) -> None:
    fake_archive.add(drawn(image, BOX), drawn(image, OTHER, person="unknown^unknown"))
    assert reports.update() == 2
    assert len(label(reports, image).boxes) == len(label(reports, image, "anonymous").boxes) == 1


def test_reports_of_models_are_no_labels(fake_archive: FakeArchive, image, reports: ArchiveReports) -> None:
    write = pytest.importorskip("monai_dgm.labelling.dicom_objects.structured_report").write_opacity_report
    pytest.importorskip("highdicom")
    fake_archive.add(write(image, [BOX], [0.9], algorithm=Algorithm("monai-dgm", "1")))
    device = drawn(image, OTHER, person="")
    device.ContentSequence[-1].ContentSequence[0].ContentSequence[0].TextValue = "other:Box"
    fake_archive.add(device)
    other = as_file(report(image))
    other.ContentTemplateSequence, other.ContentSequence = [], []
    fake_archive.add(other)
    assert reports.update() == 0 and not reports.submissions.labelled()
    assert reports.state.counts()["reports"] == {"ours": 1, "of a device": 1, "not understood": 1}


def test_no_opacity_is_a_confirmed_negative(fake_archive: FakeArchive, image, reports: ArchiveReports) -> None:
    absent = item("CODE", code("112001"), ConceptCodeSequence=[code("272519000", "SCT")])
    fake_archive.add(as_file(report(image, group(absent), person=READER)))
    assert reports.update() == 1 and label(reports, image).status == "no_finding"


def test_regions_without_coordinates_are_counted_and_left_out(
    fake_archive: FakeArchive, image, reports: ArchiveReports, caplog: pytest.LogCaptureFixture
) -> None:
    lost = drawn(image, BOX)
    lost.ContentSequence[-1].ContentSequence.append(group(area(), comment("opacity")))
    fake_archive.add(lost)
    with caplog.at_level(logging.INFO):
        assert reports.update() == 1
    assert len(label(reports, image).boxes) == 1
    assert "1 regions" in caplog.text and "Roe" not in caplog.text and image.SOPInstanceUID not in caplog.text
    fake_archive.add(as_file(report(image, group(area(), comment("opacity")), person="Other^One")))
    assert reports.update() == 0
    assert reports.submissions.labels.get(image.SOPInstanceUID, "Other^One") is None


def test_of_two_images_only_the_ones_with_boxes_are_labelled_until_these_are_deleted(
    fake_archive: FakeArchive, image, reports: ArchiveReports
) -> None:
    second = radiograph("two", StudyInstanceUID=image.StudyInstanceUID)
    fake_archive.add(second)
    reports.archive.refresh()
    fake_archive.add(drawn(image, BOX, ContentTime="100000"))
    assert reports.update() == 1 and reports.submissions.labelled() == {image.SOPInstanceUID}
    moved_over = drawn(image, ContentTime="110000")
    moved_over.ContentSequence[-1].ContentSequence = [group(area(region(second, "POLYLINE", corners(*OTHER))))]
    extra = drawn(second).CurrentRequestedProcedureEvidenceSequence[0]
    moved_over.CurrentRequestedProcedureEvidenceSequence.append(extra)
    fake_archive.add(moved_over)
    assert reports.update() == 2
    assert (label(reports, image).status, label(reports, second).status) == ("no_finding", "boxes")


def test_reports_of_other_studies_are_not_fetched(fake_archive: FakeArchive, reports: ArchiveReports) -> None:
    fake_archive.add(drawn(radiograph("elsewhere"), BOX))
    assert reports.update() == 0 and not [asked for asked in fake_archive.asked if "/instances/" in asked]


def test_an_archive_that_goes_away_loses_no_report(fake_archive: FakeArchive, image, reports: ArchiveReports) -> None:
    fake_archive.add(drawn(image, BOX))
    fake_archive.fail = 503
    with pytest.raises(ArchiveAwayError):
        reports.update()
    fake_archive.fail = 0
    assert reports.update() == 1


def test_a_damaged_report_does_not_stop_the_others(fake_archive: FakeArchive, image, reports) -> None:
    damaged, good = drawn(image, OTHER, person="Bad^One"), drawn(image, BOX)
    fake_archive.add(damaged, good)
    content, header = fake_archive.instances[damaged.SOPInstanceUID]
    fake_archive.instances[damaged.SOPInstanceUID] = (content[:600], header)
    assert reports.update() == 1 and label(reports, image).status == "boxes"


def test_reports_that_fit_no_radiograph_give_no_label(fake_archive: FakeArchive, image, reports) -> None:
    other_study = drawn(image, BOX)  # the archive lists it in another study than its content names
    other_study.StudyInstanceUID = "1.2.3.4"
    fake_archive.add(other_study, drawn(radiograph("not there", StudyInstanceUID=image.StudyInstanceUID), BOX))
    fake_archive.instances[other_study.SOPInstanceUID][1].StudyInstanceUID = image.StudyInstanceUID
    assert reports.update() == 0 and not reports.submissions.labelled()
    assert reports.state.counts()["reports"] == {"not understood": 1, "no boxes": 1}


@pytest.mark.parametrize("rows", [None, "x"])
def test_a_radiograph_without_a_size_gets_no_label(
    fake_archive: FakeArchive, image, reports: ArchiveReports, monkeypatch: pytest.MonkeyPatch, rows: Any
) -> None:
    fake_archive.add(drawn(image, BOX))
    original, asked = reports.archive.header, []

    def header(uids: Any, with_pixels: bool = True) -> pydicom.Dataset:
        found = original(uids, with_pixels)
        asked.append(uids.instance)
        if asked.count(image.SOPInstanceUID) == 2:  # when the label is made
            found = pydicom.Dataset()
            found.add_new("Rows", "LO", rows)
        return found

    monkeypatch.setattr(reports.archive, "header", header)
    assert reports.update() == 0 and reports.state.counts()["reports"] == {"not understood": 1}


def test_a_report_that_is_removed_after_it_was_listed_is_read_when_it_is_back(
    fake_archive: FakeArchive, image, reports: ArchiveReports, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = drawn(image, BOX)
    fake_archive.add(saved)
    original = reports.archive.client.retrieve

    def removed(uids: Any, max_bytes: int | None = None) -> bytes:
        if uids.instance == saved.SOPInstanceUID:
            raise UnknownError("the archive has no such object")
        return original(uids, max_bytes)

    with monkeypatch.context() as patched:
        patched.setattr(reports.archive.client, "retrieve", removed)
        assert reports.update() == 0 and reports.state.counts()["reports"] == {}
    assert reports.update() == 1
