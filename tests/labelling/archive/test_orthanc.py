"""What happens in a real Orthanc is followed: instances that arrive, are replaced, and are deleted."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_dgm.labelling.archive.archive_changes import OrthancFeed
from monai_dgm.labelling.archive.archive_client import ArchiveClient
from monai_dgm.labelling.archive.archive_state import ArchiveState
from monai_dgm.labelling.archive.archive_studies import StudyArchive
from monai_dgm.labelling.archive.archive_watcher import ArchiveWatcher
from monai_dgm.labelling.archive.instance_cache import DicomCache
from monai_dgm.labelling.archive.reports import ArchiveReports
from monai_dgm.labelling.archive.sent_results import ArchiveResults
from monai_dgm.labelling.dicom_objects.derived import encode_dicom
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.http_errors import UnknownError
from monai_dgm.labelling.server.models import LabellingModels
from monai_dgm.labelling.server.submissions import Submissions
from tests.labelling.fake_archive import radiograph

pytestmark = pytest.mark.service
pytest.importorskip("highdicom")


@pytest.fixture
def orthanc(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A small Orthanc, in which an instance can be replaced by another one of the same UID."""
    monkeypatch.syspath_prepend(str(repository / "apps" / "radiology_dgm"))
    import pacs

    configuration = pacs.configuration
    monkeypatch.setattr(pacs, "configuration", lambda *given: {**configuration(*given), "OverwriteInstances": True})
    try:
        server = pacs.Orthanc(tmp_path / "orthanc")
        server.start()
    except pacs.PacsError as error:
        pytest.skip(str(error))
    yield server
    server.stop()


@pytest.fixture
def start(orthanc: Any, bundles: Path, tmp_path: Path) -> Callable[[], ArchiveWatcher]:
    """Start a server's watcher: on the same folders each time, as after a restart."""
    return lambda: start_watcher(orthanc, bundles, tmp_path)


def start_watcher(orthanc: Any, bundles: Path, tmp_path: Path) -> ArchiveWatcher:
    archive = StudyArchive(ArchiveClient(orthanc.address), DicomCache(tmp_path / "cache", 100_000_000))
    analysis = RadiographAnalysis(archive, LabellingModels(bundles))
    submissions, state = Submissions(tmp_path / "state"), ArchiveState(tmp_path / "state" / "a.sqlite")
    results = ArchiveResults(analysis, archive, submissions, state)
    return ArchiveWatcher(results, ArchiveReports(archive, submissions, state), seconds=60.0)


def rounds(watch: ArchiveWatcher) -> None:
    """Two rounds: in the second, the results of the first have arrived in the archive."""
    for _ in range(2):
        while watch.run_round():
            pass


def addresses_asked(watch: ArchiveWatcher, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The path of each request of a round."""
    session, asked = watch.results.archive.client._session, []
    request = session.request

    def note(method: str, url: str, **given: Any) -> Any:
        asked.append(url)
        return request(method, url, **given)

    with monkeypatch.context() as patch:
        patch.setattr(session, "request", note)
        assert watch.run_round() is False
    return asked


def delete(orthanc: Any, uid: str) -> None:
    """Delete an instance as a user of Orthanc does."""
    base = f"http://127.0.0.1:{orthanc.port}"
    found = urllib.request.Request(f"{base}/tools/lookup", data=uid.encode(), method="POST")
    identifier = urllib.request.urlopen(found, timeout=60).read().split(b'"ID" : "')[1].split(b'"')[0].decode()
    urllib.request.urlopen(urllib.request.Request(f"{base}/instances/{identifier}", method="DELETE"), timeout=60)


def test_arrival_replacement_and_deletion_are_followed(
    orthanc: Any, start: Callable[[], ArchiveWatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, forgotten = start(), list[str]()
    archive, state = watch.results.archive, watch.results.state
    watch.forget = forgotten.extend
    first = radiograph("first")
    orthanc.upload(encode_dicom(first))
    rounds(watch)
    assert isinstance(watch._feed, OrthancFeed) and archive.ids() == [first.SOPInstanceUID]

    image = radiograph("second", PatientID="")  # Orthanc makes its identifiers of the patient ID, too
    orthanc.upload(encode_dicom(image))
    rounds(watch)
    name, path = str(image.SOPInstanceUID), archive.cache._path(archive.study_of(image.SOPInstanceUID).path)
    assert archive.ids() == sorted([first.SOPInstanceUID, name]) and state.counts()["results"] == {"sent": 2}

    asked = addresses_asked(watch, monkeypatch)  # nothing has happened
    assert len(asked) == 2 and not [address for address in asked if "dicom-web" in address]

    shown, stamp = archive.read(name)[0].pixels, archive.find(name).stamp
    darker = radiograph("second", PatientID="")
    darker.PixelData = (np.frombuffer(darker.PixelData, np.uint16) // 2).tobytes()
    orthanc.upload(encode_dicom(darker))
    rounds(watch)
    assert np.abs(archive.read(name)[0].pixels - shown).max() > 1_000 and archive.find(name).stamp != stamp
    assert forgotten == [name]
    assert len(state.sent([name])[name]) == 2  # the results of the new pixels, beside those of the earlier ones

    orthanc.upload(encode_dicom(radiograph("second", PatientID="")))  # while no server runs
    watch = start()
    watch.send, watch.forget, archive = False, forgotten.extend, watch.results.archive
    asked = addresses_asked(watch, monkeypatch)
    assert forgotten == [name, name] and not path.exists()
    assert not [address for address in asked if "expand" in address]  # Orthanc's log is enough
    assert np.array_equal(archive.read(name)[0].pixels, shown)

    assert path.is_file()
    delete(orthanc, name)
    watch.run_round()
    assert archive.ids() == [first.SOPInstanceUID] and not path.exists()
    with pytest.raises(UnknownError):
        archive.read(name)
    delete(orthanc, first.SOPInstanceUID)  # while no server runs; Orthanc's log has changed, too
    watch = start()
    watch.run_round()
    archive = watch.results.archive
    assert archive.ids() == [] and archive.cache.size() == (0, 0)
