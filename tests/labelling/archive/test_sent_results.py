from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_dgm.labelling.archive.archive_state import ArchiveState
from monai_dgm.labelling.archive.archive_studies import StudyArchive
from monai_dgm.labelling.archive.dicom_results import derived_uid
from monai_dgm.labelling.archive.sent_results import ArchiveResults
from monai_dgm.labelling.dicom_objects.structured_report_reader import read_opacity_report
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.http_errors import ArchiveAwayError
from monai_dgm.labelling.server.models import LabellingModels
from monai_dgm.labelling.server.submissions import MODEL_READER, Submissions
from tests.labelling.fake_archive import FakeArchive, radiograph

pytest.importorskip("highdicom")


@pytest.fixture
def make_results(study_archive: StudyArchive, bundles: Path, tmp_path: Path):
    """A server's results; called again, it is that of the server after a restart."""

    def make() -> ArchiveResults:
        study_archive.refresh()
        analysis = RadiographAnalysis(study_archive, LabellingModels(bundles))
        return ArchiveResults(
            analysis, study_archive, Submissions(tmp_path / "state"), ArchiveState(tmp_path / "state" / "a.sqlite")
        )

    return make


def test_a_study_gets_boxes_normal_image_and_overlay_once(fake_archive: FakeArchive, make_results) -> None:
    image = radiograph()
    fake_archive.add(image)
    results = make_results()
    assert results.pending() == [image.SOPInstanceUID]
    assert results.send_results(image.SOPInstanceUID) == 3
    assert results.pending() == [] and len(fake_archive.of("SR")) == 1 and len(fake_archive.of("OT")) == 2
    for header in (*fake_archive.of("SR"), *fake_archive.of("OT")):
        assert header.StudyInstanceUID == image.StudyInstanceUID and header.PatientID == image.PatientID
    shown = results.submissions.shown(image.SOPInstanceUID, MODEL_READER)
    report = read_opacity_report(fake_archive.of("SR")[0])
    assert report.is_prediction and len(report.opacities) == len(shown.boxes)
    for region, box in zip(report.opacities, shown.boxes, strict=True):
        np.testing.assert_allclose(region.box, box.box, atol=0.01)
    assert make_results().send_results(image.SOPInstanceUID) == 0  # even when it is asked for
    assert len(fake_archive.instances) == 4


def test_a_place_in_the_patient_brings_a_segmentation(fake_archive: FakeArchive, make_results) -> None:
    plane = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}
    image = radiograph(FrameOfReferenceUID="1.2.3.4", **plane)
    fake_archive.add(image)
    assert make_results().send_results(image.SOPInstanceUID) == 4
    assert len(fake_archive.of("SEG")) == 1


@pytest.mark.parametrize("stored", [0, 1, 2, 3])
def test_whoever_is_killed_while_storing_nothing_is_lost_or_doubled(
    fake_archive: FakeArchive, make_results, stored: int
) -> None:
    image = radiograph()
    fake_archive.add(image)
    fake_archive.cut_store_after = stored if stored < 3 else None
    results = make_results()
    if stored < 3:
        with pytest.raises(ArchiveAwayError):
            results.send_results(image.SOPInstanceUID)
    else:  # all stored, and killed before that was noted
        results.state.store_result = lambda *_: None
        results.send_results(image.SOPInstanceUID)
    fake_archive.cut_store_after = None
    again = make_results()
    assert again.pending() == [image.SOPInstanceUID]
    assert again.send_results(image.SOPInstanceUID) == 3 - stored
    assert (len(fake_archive.of("SR")), len(fake_archive.of("OT"))) == (1, 2) and again.pending() == []


def test_other_models_send_anew_but_not_of_labelled_images(
    fake_archive: FakeArchive, make_results, bundles: Path, detector_weights: Path
) -> None:
    images = [radiograph("one"), radiograph("two")]
    fake_archive.add(*images)
    results = make_results()
    for image_id in results.pending():
        results.send_results(image_id)
    results.analysis.models = LabellingModels(bundles, {"detector": detector_weights})
    results.submissions.submit(
        '{"markups": []}', images[0].SOPInstanceUID, results.analysis.placement(images[0].SOPInstanceUID), "one"
    )
    assert results.pending() == [images[1].SOPInstanceUID]
    assert results.send_results(images[1].SOPInstanceUID) == 3
    assert len(fake_archive.of("SR")) == 3


def test_laterals_and_damaged_images_are_left_out(fake_archive: FakeArchive, make_results) -> None:
    lateral, damaged = radiograph("one", ViewPosition="LL"), radiograph("two", PixelData=b"\0" * 10)
    fake_archive.add(lateral, damaged)
    results = make_results()
    for image_id in results.pending():
        results.try_to_send(image_id)
    assert results.pending() == [] and not fake_archive.of("SR")
    assert results.state.counts()["results"] == {"left out": 1, "failed": 1}


def test_newest_studies_come_first(fake_archive: FakeArchive, make_results) -> None:
    images = [radiograph(str(i), StudyDate=date) for i, date in enumerate(("20260102", "20260301", "20251231"))]
    fake_archive.add(*images)
    assert make_results().pending() == [images[i].SOPInstanceUID for i in (1, 0, 2)]


def test_without_models_nothing_is_done(fake_archive: FakeArchive, make_results, tmp_path: Path) -> None:
    fake_archive.add(radiograph())
    results = make_results()
    results.analysis.models = LabellingModels(tmp_path)
    assert results.pending() == []


def test_uids_follow_from_their_parts() -> None:
    assert derived_uid("a", "b") == derived_uid("a", "b") != derived_uid("b", "a")
    assert len(derived_uid("a")) <= 64
