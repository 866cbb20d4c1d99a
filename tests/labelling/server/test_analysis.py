"""Who waits for whom: readers, the background, and an archive that is slow."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from monai_dgm.labelling.archive.archive_studies import StudyArchive
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.background import Background
from monai_dgm.labelling.server.models import LabellingModels
from tests.labelling.fake_archive import FakeArchive, radiograph

SECONDS = 30.0  # within which what does not wait is done


def test_the_size_of_an_image_does_not_wait_for_a_model(analysis: RadiographAnalysis) -> None:
    with ThreadPoolExecutor(1) as threads, analysis._lock:  # as while a model runs
        placement = threads.submit(analysis.placement, "a").result(SECONDS)
    assert (placement.rows, placement.cols) == (90, 120)


def test_what_is_known_does_not_wait_for_a_model(analysis: RadiographAnalysis) -> None:
    known = analysis.examine("a"), analysis.examine("a", uncertainty=True)
    with ThreadPoolExecutor(1) as threads, analysis._lock:
        assert threads.submit(analysis.examine, "a").result(SECONDS) is known[0]
        assert threads.submit(analysis.examine, "a", uncertainty=True).result(SECONDS) is known[1]


def test_a_reader_comes_before_the_next_image_of_the_background(
    analysis: RadiographAnalysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis.examine("a")  # loads the models
    order, run = list[str](), analysis._examine

    def examine(image_id: str, versions: Any) -> Any:
        order.append(image_id)
        if len(order) == 1:  # until the reader waits for the models
            reader.start()
            while not analysis._lock._readers:
                time.sleep(0.001)
        return run(image_id, versions)

    monkeypatch.setattr(analysis, "_examine", examine)
    reader = threading.Thread(target=analysis.examine, args=("sub__c",))
    analysis._analysis_results.clear()
    background = Background("scoring", lambda: [analysis.examine(name) for name in background.each("ab")])
    background.start()
    background.wait(SECONDS)
    reader.join(SECONDS)
    assert order == ["a", "sub__c", "b"]


def test_nobody_waits_for_a_slow_archive_but_who_wants_that_image(
    fake_archive: FakeArchive, study_archive: StudyArchive, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [radiograph("one"), radiograph("two")]
    fake_archive.add(*images)
    study_archive.refresh()
    slow, quick = (str(image.SOPInstanceUID) for image in images)
    asked, go, retrieve = threading.Event(), threading.Event(), study_archive.client.retrieve

    def retrieve_slowly(uids: Any, *more: Any) -> bytes:
        if uids.instance == slow:
            asked.set()
            assert go.wait(SECONDS)
        return retrieve(uids, *more)

    monkeypatch.setattr(study_archive.client, "retrieve", retrieve_slowly)
    analysis = RadiographAnalysis(study_archive, LabellingModels(bundles))
    with ThreadPoolExecutor(2) as threads:
        waiting = threads.submit(analysis.examine, slow)
        assert asked.wait(SECONDS)
        try:
            assert threads.submit(analysis.examine, quick).result(SECONDS / 2).source is not None
            assert not waiting.done()
        finally:
            go.set()
        assert waiting.result(SECONDS).source is not None
