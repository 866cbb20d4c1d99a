"""How long a reader waits for a case that was not analysed before, while the server analyses an archive.

    python benchmarks/open_case.py --cases 20 --storage FOLDER

It needs MONAI Label and Orthanc (`make label-pacs` installs both). Orthanc is filled with small studies as by
label_readers.py; the server has a new state, one torch thread, and all of them to analyse and to score. A reader opens
cases that come late in the background's order, one after the other with a pause. Opening is what the viewer asks:
`POST /dgm/boxes`, then `GET /dgm/numbers`. Prints milliseconds from the first request to the last answer.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from label_archive import archive_state, filled_orthanc, wait_until_listed
from label_readers import radiographs
from label_server import Server, serving

PAUSE_SECONDS = 1.0
MONTHS = 12  # of the studies' dates: the background begins with the newest


def late_cases(studies: int, cases: int) -> list[str]:
    """Ids of the oldest studies' images; the largest ids of them, since images are scored in the order of their ids."""
    from monai_dgm.labelling.dicom_objects.digital_xray import digital_xray_uids

    oldest = sorted(digital_xray_uids(f"load/{number}")[2] for number in range(0, studies, MONTHS))
    if len(oldest) < cases:
        sys.exit(f"expected at least {cases * MONTHS} studies for {cases} cases, got {studies}")
    return oldest[-cases:]


def open_case(server: Server, image: str) -> float:
    """Milliseconds to open a case."""
    start = time.perf_counter()
    for method, path in (("POST", "boxes"), ("GET", "numbers")):
        status, body = server.ask(method, f"/dgm/{path}?image={image}")
        if status != 200:
            sys.exit(f"/dgm/{path}: status {status}, {body[:200]!r}")
    return 1000 * (time.perf_counter() - start)


def measure(archive: str, folder: Path, images: list[str]) -> dict[str, float]:
    """Times of all cases."""
    with serving(archive, folder / "state", 1, [["since", "all"]]) as server:
        wait_until_listed(server)
        while archive_state(server)["waiting"] == 0:  # the models are loaded for the first image
            time.sleep(0.1)
        time.sleep(5)
        times, begin = [], time.monotonic()
        for image in images:
            times.append(open_case(server, image))
            time.sleep(PAUSE_SECONDS)
        seconds, left = time.monotonic() - begin, archive_state(server)["waiting"]
    p50, p95 = np.percentile(times, (50, 95))
    found = {"n": len(times), "p50_ms": p50, "p95_ms": p95, "largest_ms": max(times), "seconds": seconds}
    return {**{name: round(float(value), 1) for name, value in found.items()}, "waiting_at_the_end": left}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=300)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--storage", default="", help="folder in which Orthanc's files stay, with the results")
    given = parser.parse_args()
    images = late_cases(given.studies, given.cases)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with filled_orthanc(Path(given.storage or folder / "orthanc"), radiographs(given.studies)) as (orthanc, _):
            found = measure(orthanc.address, folder, images)
    print(json.dumps({"studies": given.studies, **found, "load": os.getloadavg()[0]}, indent=1))


if __name__ == "__main__":
    main()
