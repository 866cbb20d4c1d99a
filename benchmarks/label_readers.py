"""Readers at human speed on an archive: times of their requests, errors, lost labels, and the server's memory.

    python benchmarks/label_readers.py --readers 20 --minutes 10 --train
    python benchmarks/label_readers.py --readers 1 --minutes 120      # one request every ten seconds: a soak

It needs MONAI Label and Orthanc (`make label-pacs` installs both). Orthanc is filled with small studies: the package's
radiographs at 256 pixels with some noise, one a study; --storage FOLDER keeps them. The server starts as `make label`
does, analyses all of them in the background, and sends its results to the archive.

Each reader asks for the next case, opens it with the requests of the viewer, looks at a map, runs a model or lists the
worklist now and then, and submits a label or skips the case; before each step the reader waits, --pause seconds on
average. With --train the detector is trained on the labels meanwhile, again and again.

Ends with status 1 where a request failed or a label that the server has acknowledged is not on its disk. The state of
each minute is printed as a line of JSON.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent))
from label_archive import filled_orthanc, wait_until_listed
from label_server import Server, serving

SIDE = 256
NOISE = 400  # of 65,535, so that no two studies have the same pixels
SKIPPED = 0.15  # share of the cases
JSON = "application/json"


def radiographs(studies: int) -> Iterator[NDArray[np.uint16]]:
    """Pixels of each study: the package's radiographs in turn, with noise."""
    from PIL import Image

    from monai_dgm.data.examples import example_radiographs

    files = sorted((example_radiographs() / "images").glob("*.png"))
    images = [np.asarray(Image.open(file).convert("L").resize((SIDE, SIDE))) * 257.0 for file in files]
    noise = np.random.default_rng(0)
    for number in range(studies):
        pixels = images[number % len(images)] + noise.normal(0, NOISE, (SIDE, SIDE))
        yield pixels.clip(0, 65_535).astype(np.uint16)


class Reader(threading.Thread):
    """A reader who reads one case after the other.

    Args:
        server: that is asked.
        number: of the reader, name and seed.
        pause: mean seconds before each step.
        until: of time.monotonic, when the reader ends.
    """

    def __init__(self, server: Server, number: int, pause: float, until: float) -> None:
        super().__init__(name=f"reader{number}", daemon=True)
        self.server, self.pause, self.until = server, pause, until
        self.random = random.Random(number)
        self.skipped: list[str] = []
        self.kept: dict[str, tuple[str, int]] = {}  # image -> status and number of boxes that the server acknowledged
        self.seconds: dict[str, list[float]] = {}
        self.errors: Counter[str] = Counter()
        self.none_left = 0

    def run(self) -> None:
        while self._wait():
            case = self._json("next", "POST", "/dgm/next", {"skipped": self.skipped[-500:]})
            if case is None:
                continue
            if not case:
                self.none_left += 1
                self.skipped.clear()
                continue
            self._read(case)

    def _read(self, case: dict[str, Any]) -> None:
        """One case from its opening to the label."""
        image, study, series = case["image"], case["study"], case["series"]
        if not self._wait():
            return
        place = f"/dicom-web/studies/{study}/series/{series}"
        self._ask("metadata", "GET", f"{place}/metadata")
        self._ask("pixels", "GET", f"{place}/instances/{image}/frames/1")
        self._ask("state", "GET", "/dgm/state")
        shown = self._json("open", "POST", f"/dgm/boxes?image={image}")
        self._ask("numbers", "GET", f"/dgm/numbers?image={image}")
        if self.random.random() < 0.3 and self._wait():
            extra = self.random.choice(("map", "infer", "worklist"))
            if extra == "map":
                self._ask(extra, "GET", f"/dgm/layers/residue?image={image}")
            elif extra == "infer":
                self._ask(extra, "POST", f"/infer/decompose?image={image}")
            else:
                self._ask(extra, "POST", "/dgm/worklist", {"show": "unread"})
        if shown is None or not self._wait():
            return
        if self.random.random() < SKIPPED:
            self.skipped.append(image)
            return
        boxes = [{**box, "box": self._moved(box["box"])} for box in shown["boxes"]]
        label = {"status": "boxes" if boxes else "no_finding", "boxes": boxes}
        kept = self._json("submit", "PUT", f"/dgm/boxes?image={image}", label)
        if kept is not None:
            self.kept[image] = kept["status"], len(kept["boxes"])

    def _moved(self, box: list[float]) -> list[float]:
        """The box as it was, or its lower corner elsewhere."""
        return [*box[:2], min(SIDE, box[2] + self.random.choice((0, 0, 7))), box[3]]

    def _wait(self) -> bool:
        """A human's time; whether the reader still works."""
        time.sleep(max(0.0, min(self.pause * self.random.uniform(0.5, 1.5), self.until - time.monotonic())))
        return time.monotonic() < self.until

    def _json(self, kind: str, method: str, path: str, value: Any = None) -> Any:
        body = self._ask(kind, method, path, value)
        return None if body is None else json.loads(body)

    def _ask(self, kind: str, method: str, path: str, value: Any = None) -> bytes | None:
        """The answer's body; None where the request failed."""
        path += f"{'&' if '?' in path else '?'}reader={self.name}" if path.startswith("/dgm/") else ""
        start = time.perf_counter()
        try:
            status, body = self.server.ask(method, path, *(() if value is None else (json.dumps(value).encode(), JSON)))
        except (OSError, http.client.HTTPException) as error:
            status, body = 0, type(error).__name__.encode()
        self.seconds.setdefault(kind, []).append(time.perf_counter() - start)
        if status == 200:
            return body
        self.errors[f"{kind}: status {status}, {body[:100].decode(errors='replace')}"] += 1
        return None


class Trainings(threading.Thread):
    """Trains the detector again and again, as the viewer's panel does, once there are labels enough."""

    def __init__(self, server: Server, until: float) -> None:
        super().__init__(name="trainings", daemon=True)
        self.server, self.until = server, until
        self.started, self.running = 0, 0

    def run(self) -> None:
        while time.monotonic() < self.until:
            state = json.loads(self.server.ask("GET", "/train")[1])
            self.running += state.get("status") == "RUNNING"
            if state.get("status") != "RUNNING":
                self.started += self.server.ask("POST", "/train/detect_opacities", b"{}", JSON)[0] == 200
            time.sleep(1)


def usage(process: int) -> dict[str, float]:
    """Megabytes, threads and open files of a process."""
    folder = Path(f"/proc/{process}")
    lines = [line.split() for line in (folder / "smaps_rollup").read_text().splitlines()[1:]]
    kilobytes = {words[0]: int(words[1]) for words in lines}
    private = kilobytes["Private_Clean:"] + kilobytes["Private_Dirty:"]
    return {
        "resident_mb": round(kilobytes["Rss:"] / 1024, 1),
        "private_mb": round(private / 1024, 1),
        "threads": len(os.listdir(folder / "task")),
        "open_files": len(os.listdir(folder / "fd")),
    }


def watch(server: Server, readers: list[Reader], minutes: float) -> list[dict[str, float]]:
    """The server's usage each minute until the end."""
    begin, rows = time.monotonic(), list[dict[str, float]]()
    while server.process.poll() is None:
        requests = sum(len(times) for reader in readers for times in list(reader.seconds.values()))
        errors = sum(sum(reader.errors.values()) for reader in readers)
        minute = (time.monotonic() - begin) / 60
        rows.append({"minute": round(minute, 1), **usage(server.process.pid), "requests": requests, "errors": errors})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
        if minute >= minutes:
            break
        time.sleep(max(0.0, min(60.0 * len(rows), 60 * minutes) - (time.monotonic() - begin)))
    return rows


def lost_labels(state: Path, readers: list[Reader]) -> list[str]:
    """Images whose acknowledged label is not on the disk as it was acknowledged."""
    from monai_dgm.labelling.labels.label_store import LabelStore

    store, lost = LabelStore(state / "labels"), []
    for reader in readers:
        for image, acknowledged in reader.kept.items():
            label = store.get(image, reader.name)
            if label is None or (label.status, len(label.boxes)) != acknowledged:
                lost.append(image)
    return lost


def request_times(readers: list[Reader]) -> dict[str, dict[str, float]]:
    """Number and percentiles in ms by kind of request."""
    kinds = sorted({kind for reader in readers for kind in reader.seconds})
    found = {}
    for kind in kinds:
        times = 1000 * np.array([second for reader in readers for second in reader.seconds.get(kind, [])])
        p50, p95, p99 = np.percentile(times, (50, 95, 99)).round(1).tolist()
        found[kind] = {"n": len(times), "p50": p50, "p95": p95, "p99": p99}
    return found


def growth(rows: list[dict[str, float]], column: str) -> float:
    """MB per hour, by least squares over the second half of the minutes."""
    half = rows[len(rows) // 2 :]
    slope = np.polyfit([row["minute"] for row in half], [row[column] for row in half], 1)[0] if len(half) > 2 else 0.0
    return round(60 * float(slope), 2)


def run(given: argparse.Namespace, folder: Path) -> int:
    """Read; returns the exit status."""
    state = folder / "state"
    with filled_orthanc(Path(given.storage or folder / "orthanc"), radiographs(given.studies)) as (orthanc, _):
        conf = [["since", "all"], ["cache_dir", str(folder / "cache")]]
        with serving(orthanc.address, state, 1, conf) as server:
            wait_until_listed(server)
            until = time.monotonic() + 60 * given.minutes
            readers = [Reader(server, number, given.pause, until) for number in range(given.readers)]
            trainings = Trainings(server, until)
            for thread in [*readers, *([trainings] if given.train else [])]:
                thread.start()
            rows = watch(server, readers, given.minutes)
            for reader in readers:
                reader.join(150)
            server.process.kill()  # what was acknowledged is on the disk
            server.process.wait()
    lost, errors = lost_labels(state, readers), sum((reader.errors for reader in readers), Counter[str]())
    found = {
        "readers": given.readers,
        "minutes": given.minutes,
        "times_ms": request_times(readers),
        "errors": dict(errors),
        "stuck": sum(reader.is_alive() for reader in readers),
        "none_left": sum(reader.none_left for reader in readers),
        "labels": sum(len(reader.kept) for reader in readers),
        "lost_labels": len(lost),
        "trainings": {"started": trainings.started, "running_s": trainings.running},
        "start": rows[0],
        "middle": rows[len(rows) // 2],
        "end": rows[-1],
        "growth_mb_per_hour": {column: growth(rows, column) for column in ("resident_mb", "private_mb")},
    }
    print(json.dumps(found, indent=1))
    return int(bool(errors or lost or found["stuck"]))


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=1_220)
    parser.add_argument("--storage", default="", help="folder in which Orthanc's files stay")
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--pause", type=float, default=10.0, help="seconds before each step of a reader, on average")
    parser.add_argument("--train", action="store_true", help="train the detector on the labels meanwhile")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return run(given, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
