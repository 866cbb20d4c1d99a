"""What the next case and the worklist take with many studies, in milliseconds of processor time, without an archive.

    python benchmarks/next_case.py --studies 10000

An index of made-up studies; half of them are scored (random scores and features) by the models that are served, the
others are still waiting; one in twenty has a label. Twenty readers ask one after the other, in one process with one
thread. Nothing is analysed meanwhile. Medians of all calls but the first, which reads the scores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from monai_dgm.labelling.active_learning.image_scores import ImageScores
from monai_dgm.labelling.active_learning.score_store import ScoreStore
from monai_dgm.labelling.archive.archive_client import ArchiveClient, StudyUIDs
from monai_dgm.labelling.archive.archive_studies import StudyArchive
from monai_dgm.labelling.archive.instance_cache import DicomCache
from monai_dgm.labelling.archive.instance_index import ArchivedInstance
from monai_dgm.labelling.labels.image_label import ImageLabel
from monai_dgm.labelling.reading.plan import ReadingPlan
from monai_dgm.labelling.reading.queue import NextRequest, ReadingQueue, WorklistOrder
from monai_dgm.labelling.reading.reservations import Reservations
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.models import LabellingModels
from monai_dgm.labelling.server.selection import ImageSelection
from monai_dgm.labelling.server.submissions import Submissions

ROOT = Path(__file__).resolve().parent.parent
FEATURES = 256
READERS = 20


def make_queue(folder: Path, studies: int) -> ReadingQueue:
    """A queue of made-up studies."""
    archive = StudyArchive(ArchiveClient("http://127.0.0.1:9/dicom-web"), DicomCache(folder / "cache", 10**8))
    found = {}
    for number in range(studies):
        uids = StudyUIDs(*(f"2.25.{number * 7919 + part}" for part in (1, 2, 3)))
        found[uids.study, uids.series] = (1, [ArchivedInstance(uids, 64, 64, "20260101")])
    archive._index._update(found, ())
    archive._index.listed = True
    selection = ImageSelection(
        RadiographAnalysis(archive, LabellingModels(ROOT / "bundles")), ScoreStore(folder / "scores.sqlite")
    )
    selection.start = lambda: None  # type: ignore[method-assign]  # nothing is analysed
    random, names, version = np.random.default_rng(0), archive.ids(), selection.model_version()
    selection.scores.put(
        ImageScores(name, version, *random.random(3).tolist(), random.normal(size=FEATURES).astype("f4"), "encoder")
        for name in names[::2]
    )
    submissions = Submissions(folder / "state")
    for number, name in enumerate(random.choice(names, studies // 20, replace=False)):
        submissions.keep(ImageLabel(str(name), (64, 64), "no_finding", (), f"reader {number % READERS}", "ohif"))
    return ReadingQueue(selection, ReadingPlan(submissions, Reservations(folder / "reservations.sqlite")))


def milliseconds(call: Callable[[str], Any]) -> float:
    """Median processor time of the calls of all readers but the first."""
    times = []
    for number in range(READERS):
        started = time.process_time()
        call(f"reader {number}")
        times.append(time.process_time() - started)
    return round(1e3 * statistics.median(times[1:]), 1)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=10_000)
    given = parser.parse_args()
    requests = {
        "next case by active learning": NextRequest(),
        "next case at random": NextRequest(strategy="random"),
        "next case by the worklist": NextRequest(worklist=WorklistOrder()),
    }
    with tempfile.TemporaryDirectory() as folder:
        queue = make_queue(Path(folder), given.studies)
        found = {
            name: milliseconds(lambda reader, request=request: queue.next_case(reader, request))  # type: ignore[misc]
            for name, request in requests.items()
        }
        found["worklist"] = milliseconds(lambda reader: queue.worklist(reader, WorklistOrder()))
    print(json.dumps({"studies": given.studies, **found}, indent=1))


if __name__ == "__main__":
    main()
