"""The label server on an archive of many small studies: time to listen and to index, idle CPU, memory, next case.

    python benchmarks/label_archive.py --studies 10000

It needs MONAI Label and Orthanc (`make label-pacs` installs both), starts Orthanc as `make label-pacs` does and fills
it with simulated noise of 64 x 64 pixels, one DX a study, over twelve months; --archive ADDRESS takes an archive that
is filled already. Nothing is sent to it. With --storage FOLDER Orthanc's files stay there, and the next run with the
same folder does not fill it again.

- listen: from the start of the process to the first answer of `/info/`; index: to the end of the listing.
- idle: CPU seconds of the server and of Orthanc in --idle seconds, when nothing is to be analysed, as shares of a core.
- next: `POST /dgm/next`, one request after the other, while the images are scored in the background.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent))
from label_server import ROOT, Server, serving

SIDE = 64
REQUESTS = 100
MAX_SECONDS = 1_800


def noise(studies: int) -> Iterator[NDArray[np.uint16]]:
    """Pixels of each study."""
    random = np.random.default_rng(0)
    for _ in range(studies):
        yield (random.random((SIDE, SIDE)) * 60_000).astype(np.uint16)


def fill(orthanc: Any, images: Iterable[NDArray[np.uint16]]) -> float:
    """Store an image a study; returns the seconds."""
    from monai_dgm.labelling.dicom_objects.derived import encode_dicom
    from monai_dgm.labelling.dicom_objects.digital_xray import ExaminedPatient, write_digital_xray

    start = time.monotonic()
    for number, pixels in enumerate(images):
        spacing = 320.0 / len(pixels)
        patient = ExaminedPatient(f"p{number}")
        image = write_digital_xray(pixels, patient, f"load/{number}", pixel_spacing=(spacing, spacing))
        image.StudyDate = f"2026{1 + number % 12:02d}{1 + number % 28:02d}"
        orthanc.upload(encode_dicom(image))
    return time.monotonic() - start


@contextmanager
def filled_orthanc(folder: Path, images: Iterable[NDArray[np.uint16]]) -> Iterator[tuple[Any, float]]:
    """Orthanc with an image a study, as `make label-pacs` starts it, and the seconds that filling it took.

    Its files stay in ``folder``; where these are complete, it is not filled again.
    """
    sys.path.insert(0, str(ROOT / "apps" / "radiology_dgm"))
    import pacs

    orthanc, complete, seconds = pacs.Orthanc(folder), folder / "complete", 0.0
    orthanc.start()
    try:
        if not complete.exists():
            seconds = fill(orthanc, images)
            complete.touch()
        yield orthanc, seconds
    finally:
        orthanc.stop()


def cpu_seconds(process: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def archive_state(server: Server) -> dict[str, Any]:
    """What the server says about its archive."""
    return dict(json.loads(server.ask("GET", "/dgm/archive")[1]))


def wait_until_listed(server: Server) -> None:
    """Wait for the end of the listing."""
    deadline = time.monotonic() + MAX_SECONDS
    while not archive_state(server).get("listed"):
        if time.monotonic() > deadline:
            sys.exit("the archive is not listed")
        time.sleep(0.5)


def measure(archive: str, folder: Path, orthanc: int | None, idle: float) -> dict[str, float]:
    """All figures of one archive."""
    quiet = [["send_results", "false"]]
    found: dict[str, float] = {}
    begin = time.monotonic()
    with serving(archive, folder / "state", 1, quiet) as server:
        found["listen_s"] = time.monotonic() - begin
        wait_until_listed(server)
        found["index_s"] = time.monotonic() - begin
        time.sleep(10)
        before = cpu_seconds(server.process.pid), cpu_seconds(orthanc) if orthanc else 0.0
        time.sleep(idle)
        found["idle_server_percent"] = 100 * (cpu_seconds(server.process.pid) - before[0]) / idle
        if orthanc:
            found["idle_orthanc_percent"] = 100 * (cpu_seconds(orthanc) - before[1]) / idle
        found["memory_mb"] = server.resident_megabytes()
    print(json.dumps(found), file=sys.stderr, flush=True)  # the second start may fail
    with serving(archive, folder / "state", 1, [*quiet, ["since", "all"]]) as server:
        wait_until_listed(server)
        time.sleep(5)
        seconds = []
        for number in range(REQUESTS):
            start = time.perf_counter()
            status, body = server.ask("POST", f"/dgm/next?reader=r{number}", b'{"skipped": []}', "application/json")
            seconds.append(time.perf_counter() - start)
            if status != 200:
                sys.exit(f"/dgm/next: status {status}, {body[:200]!r}")
        ordered = sorted(1000 * value for value in seconds)
        found |= {"next_p50_ms": statistics.median(ordered), "next_p95_ms": ordered[int(0.95 * len(ordered))]}
    return {name: round(value, 2) for name, value in found.items()}


def main() -> None:
    """Fill an archive, or take a given one, and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--archive", default="", help="DICOMweb address of an archive that is filled already")
    parser.add_argument("--storage", default="", help="folder in which Orthanc's files stay")
    parser.add_argument("--orthanc", type=int, help="process of that archive, for its CPU")
    parser.add_argument("--idle", type=float, default=120.0, help="seconds")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.archive:
            print(json.dumps(measure(given.archive, folder, given.orthanc, given.idle), indent=1))
            return
        storage = Path(given.storage or folder / "orthanc")
        with filled_orthanc(storage, noise(given.studies)) as (orthanc, filled):
            found = measure(orthanc.address, folder, orthanc.process.pid, given.idle)
        print(json.dumps({"studies": given.studies, "fill_s": round(filled, 1), **found}, indent=1))


if __name__ == "__main__":
    main()
