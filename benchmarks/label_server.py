"""The label server under load: how much HTTP adds to the models, and whether it stays up and small.

    python benchmarks/label_server.py --what latency                 # 20 images a model; a few minutes on two cores
    python benchmarks/label_server.py --what soak --minutes 10 --clients 8

It needs MONAI Label (`pip install -e '.[label]'`), and starts the server as `make label` does, on loopback, over a copy
of the embedded sample (or --studies FOLDER) with the shipped weights.

- latency: `/infer/` from request to whole answer, against decode + model + encode in a process of its own with as
  many threads, in turns image by image, so that whatever else the machine does falls on both alike. Both are warm.
  The images come into the folder after the server has scored those that it started with, and each is asked for once a
  model, the models one after the other: of what was decoded the server keeps two images. So nothing is answered from
  memory.
- soak: requests of all kinds by several clients at once. Ends with status 1 when one fails, or when the server's memory
  is more than 10 % above that of the second minute.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MODELS = ("detect_opacities", "decompose")
PARTS = ("decode", "model", "encode")
WARM_UP = 3  # images
STARTING_SECONDS = 600.0
RESCAN_SECONDS = 6.0  # the server looks at its folder every five
ALLOWED_GROWTH = 1.1
BOUNDARY = "label-server-benchmark"


class Server:
    """A running server: its address, process, and folder of studies."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], studies: Path) -> None:
        self.port = port
        self.process = process
        self.studies = studies

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> tuple[int, bytes]:
        """(status, body) of an answer; a connection a request, as the panel of 3D Slicer does it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body, {"Content-Type": kind} if kind else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def resident_megabytes(self) -> float:
        """Memory of the server's process."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@contextmanager
def serving(studies: Path | str, state: Path, threads: int, conf: Sequence[list[str]] = ()) -> Iterator[Server]:
    """The server as `make label` starts it; ``conf`` has more settings of the app."""
    sys.path.insert(0, str(ROOT / "apps" / "radiology_dgm"))
    import start

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    words = start.command(str(studies), port, [["state_dir", str(state)], *conf])
    log = state.parent / "server.log"
    with open(log, "wb") as stream:
        environment = {**start.environment(), "OMP_NUM_THREADS": str(threads)}
        process = subprocess.Popen(words, env=environment, stdout=stream, stderr=stream, cwd=state.parent)
    server = Server(port, process, Path(studies))
    try:
        _wait(server, log)
        yield server
    finally:
        process.terminate()
        process.wait(30)


def _wait(server: Server, log: Path) -> None:
    deadline = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            if server.ask("GET", "/info/")[0] == 200:
                return
        except OSError:
            time.sleep(0.5)
    sys.exit("the server does not start:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-10:]))


def sample_images(studies: str) -> list[Path]:
    """Files of the studies, shuffled the same way each time."""
    if studies:
        files = sorted(path for path in Path(studies).rglob("*") if path.is_file() and path.name[0] != ".")
    else:
        sys.path.insert(0, str(ROOT / "apps" / "radiology_dgm"))
        import start

        files = sorted((start.sample_folder() / "images").iterdir())
    random.Random(0).shuffle(files)
    return files


def put_in(files: list[Path], folder: Path) -> list[str]:
    """Copy radiographs into a folder; returns their ids."""
    from monai_dgm.labelling.server.studies import image_id_of

    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copyfile(file, folder / file.name)
    return [image_id_of(file.name) for file in files]


def alone(studies: str) -> None:
    """For each line "MODEL IMAGE" of the standard input, a line of JSON with the seconds of the three parts."""
    from monai_dgm.labelling.server.analysis import RadiographAnalysis
    from monai_dgm.labelling.server.analysis_results import decompose, detect
    from monai_dgm.labelling.server.models import LabellingModels
    from monai_dgm.labelling.server.studies import StudyFolder

    folder = StudyFolder(studies)
    analysis = RadiographAnalysis(folder, LabellingModels(ROOT / "bundles"))
    for line in sys.stdin:
        model, image = line.split(maxsplit=1)
        folder.refresh()
        name, clock = image.strip(), [time.perf_counter()]
        analysis.view(name)
        clock.append(time.perf_counter())
        analysis.detections(name) if model == "detect_opacities" else analysis.examine(name)
        clock.append(time.perf_counter())
        answer = (detect if model == "detect_opacities" else decompose)(analysis, name, {})
        json.dumps(answer.params)
        clock.append(time.perf_counter())
        print(json.dumps([after - before for before, after in pairwise(clock)]), flush=True)


def measure_latency(arguments: argparse.Namespace, folder: Path) -> int:
    """A table of medians in ms, and their ratio."""
    files = sample_images(arguments.studies)[: WARM_UP + arguments.images]
    if len(files) < WARM_UP + arguments.images:
        sys.exit(f"expected {WARM_UP + arguments.images} images, got {len(files)}")
    studies, threads = folder / "studies", arguments.threads
    warm = put_in(files[:WARM_UP], studies)
    words = [sys.executable, __file__, "--alone", str(studies)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with serving(studies, folder / "state", threads) as server:
        worker = subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            for model in MODELS:
                for image in warm:
                    _both(server, worker, model, image)
            server.ask("POST", "/activelearning/combined")  # waits until the images so far are scored
            images = put_in(files[WARM_UP:], studies)
            time.sleep(RESCAN_SECONDS)
            times = {model: [_both(server, worker, model, image) for image in images] for model in MODELS}
        finally:
            worker.terminate()
            worker.wait(30)
    print(f"{len(images)} images, {threads} threads; medians in ms\n")
    print("| request | HTTP | " + " | ".join(PARTS) + " | sum | ratio |\n|---|---|---|---|---|---|---|")
    for model, rows in times.items():
        whole = 1000 * statistics.median(row[0] for row in rows)
        parts = [1000 * statistics.median(row[1][place] for row in rows) for place in range(len(PARTS))]
        total = 1000 * statistics.median(sum(row[1]) for row in rows)
        shown = " | ".join(f"{value:.1f}" for value in (whole, *parts, total))
        print(f"| /infer/{model} | {shown} | {whole / total:.2f} |")
    return 0


def _both(server: Server, worker: subprocess.Popen[str], model: str, image: str) -> tuple[float, list[float]]:
    assert worker.stdin is not None and worker.stdout is not None
    start = time.perf_counter()
    status, body = server.ask("POST", f"/infer/{model}?image={image}")
    seconds = time.perf_counter() - start
    if status != 200:
        sys.exit(f"/infer/{model}: status {status}, {body[:200]!r}")
    worker.stdin.write(f"{model} {image}\n")
    worker.stdin.flush()
    line = worker.stdout.readline()
    if not line:
        sys.exit("the process that measures alone has ended")
    return seconds, json.loads(line)


class Client(threading.Thread):
    """One of the clients of the soak: requests of all kinds, one after the other.

    Args:
        server: that it asks.
        number: of the client, its reader's name and seed.
        images: ids.
        until: of time.monotonic, when it ends.
    """

    def __init__(self, server: Server, number: int, images: list[str], until: float) -> None:
        super().__init__(name=f"client {number}", daemon=True)
        self.server, self.number, self.images, self.until = server, number, images, until
        self.random = random.Random(number)
        self.labelled: list[str] = []
        self.seconds: dict[str, list[float]] = {}
        self.errors: Counter[str] = Counter()

    def run(self) -> None:
        kinds = {
            "detect": 4,
            "decompose": 2,
            "image": 2,
            "put label": 3,
            "get label": 2,
            "boxes": 2,
            "next": 1,
            "labels": 1,
        }
        while time.monotonic() < self.until:
            kind = self.random.choices(list(kinds), list(kinds.values()))[0]
            request = self.request(kind)
            start = time.perf_counter()
            try:
                status, _ = self.server.ask(*request)
                if status != 200:
                    self.errors[f"{kind}: status {status}"] += 1
            except (OSError, http.client.HTTPException) as error:
                self.errors[f"{kind}: {type(error).__name__}"] += 1
            self.seconds.setdefault(kind, []).append(time.perf_counter() - start)

    def request(self, kind: str) -> tuple[Any, ...]:
        """Method, path, and body with its type."""
        image = self.random.choice(self.images)
        if kind in ("detect", "decompose"):
            return "POST", f"/infer/{'detect_opacities' if kind == 'detect' else kind}?image={image}"
        if kind == "image":
            return "GET", f"/datastore/image?image={image}"
        if kind == "boxes":
            return "GET", f"/dgm/boxes?image={image}&reader=reader{self.number}"
        if kind == "next":
            return "POST", "/activelearning/combined"
        if kind == "get label" and self.labelled:
            return "GET", f"/datastore/label?label={self.random.choice(self.labelled)}&tag=final"
        if kind == "labels":
            return "GET", "/dgm/labels?form=coco"
        return "PUT", f"/datastore/label?image={image}", self.label(image), f"multipart/form-data; boundary={BOUNDARY}"

    def label(self, image: str) -> bytes:
        """A form with a box somewhere, or with none."""
        x, y = self.random.uniform(20, 60), self.random.uniform(20, 60)
        box = {"type": "ROI", "coordinateSystem": "LPS", "center": [x, y, 0], "size": [20, 20, 1]}
        markups = [{**box, "controlPoints": [{"position": [x, y, 0]}]}] if self.random.random() < 0.7 else []
        fields = [
            ('name="params"', json.dumps({"reader": f"reader{self.number}"})),
            ('name="label"; filename="boxes.json"', json.dumps({"markups": markups})),
        ]
        parts = [f"--{BOUNDARY}\r\nContent-Disposition: form-data; {name}\r\n\r\n{text}\r\n" for name, text in fields]
        self.labelled.append(image)
        return ("".join(parts) + f"--{BOUNDARY}--\r\n").encode()


def soak(arguments: argparse.Namespace, folder: Path) -> int:
    """Load for some minutes; returns the exit status."""
    images = put_in(sample_images(arguments.studies), folder / "studies")
    with serving(folder / "studies", folder / "state", arguments.threads) as server:
        begin = time.monotonic()
        until = begin + 60 * arguments.minutes
        clients = [Client(server, number, images, until) for number in range(arguments.clients)]
        for client in clients:
            client.start()
        memory = [server.resident_megabytes()]
        while server.process.poll() is None and time.monotonic() < until:
            time.sleep(max(0.0, min(begin + 60 * len(memory), until) - time.monotonic()))
            memory.append(server.resident_megabytes())
        for client in clients:
            client.join(150)
    return report_soak(clients, memory, arguments.minutes)


def report_soak(clients: list[Client], memory: list[float], minutes: float) -> int:
    """Print figures; returns 1 for an error or memory that grew."""
    print("| request | number | p50, ms | p95, ms |\n|---|---|---|---|")
    kinds = sorted({kind for client in clients for kind in client.seconds})
    rows = {kind: [second for client in clients for second in client.seconds.get(kind, [])] for kind in kinds}
    for kind, seconds in {**rows, "all": [second for row in rows.values() for second in row]}.items():
        ordered = sorted(seconds)
        p50, p95 = (1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.95))
        print(f"| {kind} | {len(ordered)} | {p50:.0f} | {p95:.0f} |")
    errors = sum((client.errors for client in clients), Counter())
    print(f"\nerrors: {sum(errors.values())} {dict(errors) if errors else ''}")
    print("server's memory in MB, each minute: " + ", ".join(f"{megabytes:.0f}" for megabytes in memory))
    stuck = sum(client.is_alive() for client in clients)
    if minutes < 3:
        print("memory is not judged before the third minute")
        return int(bool(errors) or stuck > 0)
    growth = max(memory[3:]) / memory[2]
    print(f"largest after the second minute / at the second minute: {growth:.3f}")
    return int(bool(errors) or stuck > 0 or growth > ALLOWED_GROWTH)


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--what", choices=("latency", "soak"), default="latency")
    parser.add_argument("--images", type=int, default=20, help="of latency, for each model")
    parser.add_argument("--minutes", type=float, default=10.0, help="of soak")
    parser.add_argument("--clients", type=int, default=8, help="of soak")
    parser.add_argument("--threads", type=int, default=1, help="of the models (OMP_NUM_THREADS)")
    parser.add_argument("--studies", default="", help="folder of radiographs; the embedded sample by default")
    parser.add_argument("--alone", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        alone(arguments.alone)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        run = measure_latency if arguments.what == "latency" else soak
        return run(arguments, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
