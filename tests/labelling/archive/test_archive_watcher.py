from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monai_dgm.labelling.archive.archive_changes import Changes
from monai_dgm.labelling.archive.archive_state import ArchiveState
from monai_dgm.labelling.archive.archive_studies import StudyArchive
from monai_dgm.labelling.archive.archive_watcher import ArchiveWatcher
from monai_dgm.labelling.archive.reports import ArchiveReports
from monai_dgm.labelling.archive.sent_results import ArchiveResults
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.http_errors import UnavailableError
from monai_dgm.labelling.server.models import LabellingModels
from monai_dgm.labelling.server.submissions import Submissions
from tests.labelling.fake_archive import PATIENT, FakeArchive, radiograph

pytest.importorskip("highdicom")


@pytest.fixture
def watch(study_archive: StudyArchive, bundles: Path, tmp_path: Path) -> ArchiveWatcher:
    analysis = RadiographAnalysis(study_archive, LabellingModels(bundles))
    submissions, state = Submissions(tmp_path / "state"), ArchiveState(tmp_path / "state" / "a.sqlite")
    results = ArchiveResults(analysis, study_archive, submissions, state)
    return ArchiveWatcher(results, ArchiveReports(study_archive, submissions, state), 0.05)


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def test_a_study_that_arrives_gets_its_results(
    fake_archive: FakeArchive, watch: ArchiveWatcher, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[int] = []
    watch.after = lambda: told.append(1)
    with caplog.at_level(logging.DEBUG):
        watch.start()
        image = radiograph()
        fake_archive.add(image)
        until(lambda: watch.as_dict()["results"] == {"sent": 1})
        watch.stop()
    assert len(fake_archive.of("SR")) == 1 and told
    assert PATIENT not in caplog.text and image.SOPInstanceUID not in caplog.text


def test_one_bad_image_does_not_stop_the_others(
    fake_archive: FakeArchive, watch: ArchiveWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [radiograph(str(i)) for i in range(3)]
    fake_archive.add(*images)
    watch.seconds = 60.0
    send = watch.results.send_results

    def fail_once(image_id: str) -> int:
        if image_id == images[1].SOPInstanceUID:
            raise RuntimeError(PATIENT)
        return send(image_id)

    monkeypatch.setattr(watch.results, "send_results", fail_once)
    assert watch.run_round() is False
    assert watch.as_dict()["results"] == {"sent": 2, "failed": 1}


def test_work_is_cut_into_pieces_between_which_reports_are_read(
    fake_archive: FakeArchive, watch: ArchiveWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_archive.add(*(radiograph(str(i)) for i in range(3)))
    monkeypatch.setattr(
        watch.results,
        "send_results",
        lambda name: watch.results.state.store_result(name, watch.results.version(), "sent"),
    )
    watch.seconds = 0.0
    assert watch.run_round() is True and watch.as_dict()["waiting"] == 2
    assert watch.run_round() is True and watch.run_round() is False


def test_it_waits_for_an_archive_that_is_away_and_says_so_once(
    fake_archive: FakeArchive, watch: ArchiveWatcher, caplog: pytest.LogCaptureFixture
) -> None:
    fake_archive.fail = 500
    fake_archive.add(radiograph())
    with caplog.at_level(logging.INFO):
        watch.start()
        until(lambda: len(fake_archive.asked) > 3)
        assert watch.away
        fake_archive.fail = 0
        until(lambda: not watch.away and len(fake_archive.of("SR")) == 1)
        watch.stop()
    assert sum("trying again" in record.getMessage() for record in caplog.records) == 1


def test_an_error_in_a_look_is_one_line_and_the_next_look_comes(
    watch: ArchiveWatcher, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def fail(*_: object) -> int:
        looks.append(1)
        raise RuntimeError(PATIENT)

    monkeypatch.setattr(watch.reports, "update", fail)
    with caplog.at_level(logging.DEBUG):
        watch.start()
        until(lambda: len(looks) > 1)
        watch.stop()
    assert "archive: RuntimeError" in caplog.text
    assert PATIENT not in caplog.text and "Traceback" not in caplog.text


def test_results_may_be_kept_from_the_archive(fake_archive: FakeArchive, watch: ArchiveWatcher) -> None:
    fake_archive.add(radiograph())
    watch.send = False
    assert watch.run_round() is False and not fake_archive.of("SR")


def test_models_that_cannot_be_used_are_told_of_once(
    fake_archive: FakeArchive,
    watch: ArchiveWatcher,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[str] = []

    def refuse(image_id: str) -> int:
        tried.append(image_id)
        raise UnavailableError("the detector cannot be used")

    monkeypatch.setattr(watch.results, "send_results", refuse)
    fake_archive.add(radiograph())
    with caplog.at_level(logging.INFO):
        watch.start()
        until(lambda: len(tried) > 2)
        watch.stop()
    assert sum("cannot be used" in record.getMessage() for record in caplog.records) == 1
    assert watch.as_dict()["results"] == {}  # the image waits for better days


def test_a_round_without_changes_asks_for_nothing_but_recent_studies(
    fake_archive: FakeArchive, watch: ArchiveWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_archive.add(*(radiograph(str(i), StudyDate="20260101") for i in range(3)))
    watch.send = False
    assert watch.run_round() is False
    monkeypatch.setattr("monai_dgm.labelling.archive.archive_changes.SHARE", 1e-6)  # the next listing is far away
    watch._feed.listed(1.0)
    fake_archive.asked.clear()
    assert watch.run_round() is False
    series = [asked for asked in fake_archive.asked if "/series" in asked]
    assert (
        series
        and all("StudyDate=" in asked for asked in series)
        and not [a for a in fake_archive.asked if "/instances" in a]
    )
    today = radiograph("today", StudyDate=time.strftime("%Y%m%d"))
    fake_archive.add(today)
    watch.run_round()
    assert today.SOPInstanceUID in watch.results.archive.ids()


def test_failures_have_reasons_and_are_tried_again_on_demand(fake_archive: FakeArchive, watch: ArchiveWatcher) -> None:
    image = radiograph(PixelData=b"\0" * 10)
    fake_archive.add(image)
    watch.run_round()
    state = watch.results.state
    (failure,) = state.failures()
    assert failure.image_id == image.SOPInstanceUID and failure.reason.startswith("image: ")
    assert PATIENT not in failure.reason and watch._pending() == []
    assert state.retry("1.2.3") == 0 and watch._pending() == []
    assert state.retry(image.SOPInstanceUID) == 1 and state.failures() == []
    assert watch._pending() == [image.SOPInstanceUID]


@pytest.mark.parametrize(
    ("before", "after", "noticed"),
    [
        ({"ContentTime": "090000"}, {"ContentTime": "091500"}, True),
        ({"ContentTime": "090000"}, {"ContentTime": ""}, False),  # the archive does not tell it of the second
        ({"cols": 120}, {"cols": 128}, True),
        ({}, {"BodyPartExamined": "SKULL"}, False),
    ],
)
def test_without_a_log_of_changes_a_replaced_instance_is_noticed_when_it_is_opened(
    fake_archive: FakeArchive, watch: ArchiveWatcher, before: dict[str, Any], after: dict[str, Any], noticed: bool
) -> None:
    image = radiograph(**before)
    fake_archive.add(image)
    watch.send = False
    watch.run_round()
    archive, uid = watch.results.archive, str(image.SOPInstanceUID)
    forgotten: list[str] = []
    watch.forget = forgotten.extend
    stamp, shape = archive.find(uid).stamp, archive.read(uid)[0].pixels.shape
    del fake_archive.instances[uid]
    fake_archive.add(radiograph(**after))
    watch.run_round()
    assert forgotten == []
    for _ in range(2):  # the second time it is known
        watch.look_before_opening(uid)
    assert forgotten == [uid] * noticed and (archive.find(uid).stamp != stamp or not noticed)
    assert archive.read(uid)[0].pixels.shape == (shape[0], after.get("cols", shape[1]))
    fake_archive.fail = 500
    watch.look_before_opening(uid)  # what is known stays known


def test_a_replaced_instance_is_read_and_analysed_again(fake_archive: FakeArchive, watch: ArchiveWatcher) -> None:
    image = radiograph(PixelData=b"\0" * 10)
    fake_archive.add(image)
    watch.run_round()
    archive, state = watch.results.archive, watch.results.state
    before = archive.find(image.SOPInstanceUID).stamp
    del fake_archive.instances[image.SOPInstanceUID]
    fake_archive.add(radiograph())  # the same UIDs, readable
    forgotten: list[str] = []
    watch.forget = forgotten.extend
    changes = Changes(studies={image.StudyInstanceUID}, replaced={image.SOPInstanceUID})
    watch._left.add(changes)
    watch.run_round()
    assert archive.find(image.SOPInstanceUID).stamp != before and state.failures() == []
    assert forgotten == [image.SOPInstanceUID]
    assert len(fake_archive.of("SR")) == 1 and watch._pending() == []
    state.mark_replaced(archive.apply(Changes(replaced={image.SOPInstanceUID})))
    assert watch.results.pending() == [image.SOPInstanceUID]
    watch.results.send_results(image.SOPInstanceUID)
    assert len(fake_archive.of("SR")) == 2  # the earlier objects are not changed


def test_objects_of_earlier_models_are_named_as_replaced(
    fake_archive: FakeArchive, watch: ArchiveWatcher, bundles: Path, detector_weights: Path
) -> None:
    image = radiograph()
    fake_archive.add(image)
    watch.run_round()
    results, study = watch.results, image.StudyInstanceUID
    (first,) = fake_archive.of("SR")
    earlier = {header.SeriesInstanceUID for header in (*fake_archive.of("SR"), *fake_archive.of("OT"))}
    assert results.superseded(study) == set()
    without = results.analysis.models
    results.analysis.models = LabellingModels(bundles, {"detector": detector_weights})
    assert results.superseded(study) == set()  # nothing has replaced them yet
    watch.run_round()
    second = next(header for header in fake_archive.of("SR") if header.SOPInstanceUID != first.SOPInstanceUID)
    assert earlier <= results.superseded(study) and second.SeriesInstanceUID not in results.superseded(study)
    (predecessor,) = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence
    assert predecessor.SeriesInstanceUID == first.SeriesInstanceUID
    assert predecessor.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
    digits = results.analysis.models.versions()["detector"].rsplit("-", 1)[-1][:8]
    assert digits in second.SeriesDescription and second.SeriesDescription.endswith("not for diagnosis")
    results.analysis.models = without  # an administrator goes back to the earlier version
    now = results.superseded(study)
    assert second.SeriesInstanceUID in now and not earlier & now
