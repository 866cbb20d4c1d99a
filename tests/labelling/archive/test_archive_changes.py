"""What happens in an Orthanc while no server runs is followed at the next start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest

from monai_dgm.labelling.archive import archive_changes
from monai_dgm.labelling.archive.archive_client import ArchiveClient
from monai_dgm.labelling.archive.archive_state import ArchiveState
from monai_dgm.labelling.archive.archive_studies import StudyArchive
from monai_dgm.labelling.archive.archive_watcher import ArchiveWatcher
from monai_dgm.labelling.archive.instance_cache import DicomCache
from monai_dgm.labelling.archive.reports import ArchiveReports
from monai_dgm.labelling.archive.sent_results import ArchiveResults
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.http_errors import ArchiveAwayError
from monai_dgm.labelling.server.models import LabellingModels
from monai_dgm.labelling.server.submissions import Submissions
from tests.labelling.fake_archive import radiograph, serving
from tests.labelling.fake_orthanc import FakeOrthanc

pytest.importorskip("highdicom")


@pytest.fixture
def orthanc() -> Iterator[FakeOrthanc]:
    with serving(FakeOrthanc()) as archive:
        assert isinstance(archive, FakeOrthanc)
        yield archive


@pytest.fixture
def start(
    orthanc: FakeOrthanc, bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], ArchiveWatcher]:
    """Start a server's watcher: on the same folders each time, as after a restart."""

    def make() -> ArchiveWatcher:
        archive = StudyArchive(ArchiveClient(orthanc.url), DicomCache(tmp_path / "cache", 100_000_000))
        submissions, state = Submissions(tmp_path / "state"), ArchiveState(tmp_path / "state" / "a.sqlite")
        results = ArchiveResults(RadiographAnalysis(archive, LabellingModels(bundles)), archive, submissions, state)

        def send(image_id: str) -> None:  # what is sent is tested elsewhere, and takes long
            archive.read(image_id)
            state.store_result(image_id, results.version(), "sent")

        monkeypatch.setattr(results, "send_results", send)
        return ArchiveWatcher(results, ArchiveReports(archive, submissions, state), 60.0)

    return make


def rounds(watch: ArchiveWatcher) -> list[str]:
    """Rounds until all is done; returns the replaced radiographs."""
    forgotten: list[str] = []
    watch.forget = forgotten.extend
    while watch.run_round():
        pass
    return forgotten


def darker(key: str) -> pydicom.Dataset:
    """Other pixels under the same UIDs."""
    image = radiograph(key)
    image.PixelData = (np.frombuffer(image.PixelData, np.uint16) // 2).tobytes()
    return image


def nothing(orthanc: FakeOrthanc) -> None:
    pass


def empty_the_log(orthanc: FakeOrthanc) -> None:
    orthanc.log.clear()


def count_anew(orthanc: FakeOrthanc) -> None:
    """The log of another database: the same numbers, other entries."""
    orthanc.log = [{**entry, "Date": "20270101T000000"} for entry in orthanc.log]


def delete_the_latest(orthanc: FakeOrthanc) -> None:
    orthanc.delete(str(radiograph("latest").SOPInstanceUID))


def change_much(orthanc: FakeOrthanc) -> None:
    orthanc.add(*(radiograph(f"other {i}", Modality="CT") for i in range(2)))


@pytest.mark.parametrize("trouble", [nothing, empty_the_log, count_anew, delete_the_latest, change_much])
def test_what_was_replaced_or_deleted_while_no_server_ran_is_noticed(
    orthanc: FakeOrthanc,
    start: Callable[[], ArchiveWatcher],
    trouble: Callable[[FakeOrthanc], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept, replaced, deleted = (str(radiograph(key).SOPInstanceUID) for key in ("a", "bb", "ccc"))
    orthanc.add(radiograph("a"), radiograph("bb"), radiograph("ccc"), radiograph("latest", Modality="CT"))
    watch = start()
    assert rounds(watch) == []
    before = watch.results.archive.read(replaced)[0].pixels
    state, submissions = watch.results.state, watch.results.submissions
    submissions.remember((), replaced, watch.results.analysis.placement(replaced), "Roe", "v1")
    sent = state.sent([kept, replaced])
    path = watch.results.archive.cache._path(watch.results.archive.study_of(deleted).path)
    assert path.is_file()

    orthanc.replace(darker("bb"))
    orthanc.delete(deleted)
    trouble(orthanc)
    orthanc.asked.clear()
    if trouble is change_much:
        monkeypatch.setattr(archive_changes, "AFTER_A_PAUSE", 3)
    watch = start()
    assert rounds(watch) == [replaced]
    assert any("expand" in asked for asked in orthanc.asked) is (trouble is not nothing)  # else the log is enough
    archive = watch.results.archive
    assert archive.ids() == sorted([kept, replaced]) and not path.exists()
    assert np.abs(archive.read(replaced)[0].pixels - before).max() > 1_000
    assert submissions.predictions.get(replaced, "Roe") is None
    now = state.sent([kept, replaced])
    assert now[kept] == sent[kept] and len(now[replaced]) == 2  # of the earlier pixels, and of these

    assert rounds(start()) == [] and state.sent([kept, replaced]) == now  # that was noticed once


def test_a_server_that_is_killed_before_it_has_dealt_with_a_change_deals_with_it_later(
    orthanc: FakeOrthanc, start: Callable[[], ArchiveWatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    orthanc.add(radiograph("a"))
    rounds(start())
    orthanc.replace(darker("a"))
    watch = start()

    def away(changes: object) -> None:
        raise ArchiveAwayError("away")

    with monkeypatch.context() as patch:
        patch.setattr(watch.results.archive, "apply", away)
        with pytest.raises(ArchiveAwayError):
            watch.run_round()
    assert rounds(start()) == [radiograph("a").SOPInstanceUID]


def test_what_comes_back_with_other_pixels_is_analysed_again(
    orthanc: FakeOrthanc, start: Callable[[], ArchiveWatcher]
) -> None:
    uid = str(radiograph("a").SOPInstanceUID)
    orthanc.add(radiograph("a"))
    watch = start()
    rounds(watch)
    orthanc.delete(uid)
    rounds(watch)
    assert watch.results.archive.ids() == []
    orthanc.add(darker("a"))
    assert rounds(watch) == [uid] and len(watch.results.state.sent([uid])[uid]) == 2


def test_before_the_archive_is_listed_nothing_is_read_from_an_earlier_run(
    orthanc: FakeOrthanc, start: Callable[[], ArchiveWatcher]
) -> None:
    orthanc.add(radiograph("a"))
    rounds(start())
    orthanc.replace(darker("a"))
    archive = start().results.archive
    archive.in_study(str(radiograph("a").StudyInstanceUID))
    fresh = archive.read(str(radiograph("a").SOPInstanceUID))[0].pixels
    assert fresh.max() < 20_000  # of the darker one


def test_a_round_without_changes_asks_orthanc_two_questions(
    orthanc: FakeOrthanc, start: Callable[[], ArchiveWatcher]
) -> None:
    orthanc.add(radiograph("a"))
    watch = start()
    rounds(watch)
    orthanc.asked.clear()
    watch.run_round()
    assert [asked.split("?")[0] for asked in orthanc.asked] == ["GET /changes", "GET /statistics"]
