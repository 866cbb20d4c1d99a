"""What does Ray cost beside a bare loop of the same steps, how fast are one and two workers, and does memory grow?

    python benchmarks/archive_speed.py --images 320                      # speed, 512 px DICOM, the shipped weights
    python benchmarks/archive_speed.py --images 50000 --small            # memory, 64 px DICOM, a tiny decomposer

Speed: loop, one worker, two workers, loop. Processor time of a run on Ray is that of its driver and of all processes
that it started. An image's is taken between the end of one chunk and that of another while as many chunks are under way
at both, so it has no share of start and end; wall-clock time likewise. "start" is what came before the first chunk's
end. Memory: the resident size of the same processes without what they share, at each tenth of the run.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monai_dgm.archive.run import ArchiveJob, Cluster
from monai_dgm.archive.settings import MODELS, ArchiveSettings
from monai_dgm.cli.models import weights_paths
from monai_dgm.engines.weights import save_weights
from monai_dgm.labelling.dicom_objects.derived import encode_dicom
from monai_dgm.labelling.dicom_objects.digital_xray import ExaminedPatient, write_digital_xray
from monai_dgm.networks.decomposer import Decomposer

TICK = os.sysconf("SC_CLK_TCK")


def write_images(folder: Path, number: int, size: int) -> None:
    """Made-up DICOM radiographs of 16 bits, all different."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size
    chest = 20_000 * np.exp(-((x - 0.3) ** 2 + (y - 0.5) ** 2) / 0.03) + 20_000 * np.exp(
        -((x - 0.7) ** 2 + (y - 0.5) ** 2) / 0.03
    )
    noise = random.integers(0, 2_000, (size, size))
    folder.mkdir(parents=True)
    patient = ExaminedPatient("synthetic", "F", 60)
    content = b""
    for i in range(number):
        if i % 1000 == 0:  # an encoder is slow; between, the pixels alone are changed
            pixels = (50_000 - chest + np.roll(noise, i, axis=0)).astype(np.uint16)
            content = encode_dicom(write_digital_xray(pixels, patient, str(i), pixel_spacing=(0.5, 0.5)))
        (folder / f"{i:06}.dcm").write_bytes(content[:-4] + int(i).to_bytes(4, "little"))


def tiny(folder: Path) -> ArchiveSettings:
    """A decomposer of random weights that takes next to no time."""
    save_weights(Decomposer(base_width=2, num_res_blocks=1).state_dict(), folder / "model.pt")
    settings = {"image_size": 32, "base_width": 2, "num_res_blocks": 1}
    (folder / "model.json").write_text(json.dumps(settings))
    return ArchiveSettings.of({"decomposer": str(folder / "model.pt")}, "torch")


def processes(root: int) -> list[int]:
    """A process and all that come from it."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)


class ProcessorTime:
    """Processor time of this process and of all that come from it; of ended ones, what they had when last looked at."""

    def __init__(self) -> None:
        self.ticks: dict[tuple[int, str], int] = {}
        self.kinds: dict[int, str] = {}
        self.before = time.process_time()

    def seconds(self) -> dict[str, float]:
        """Look again: those of the driver, of the processes with networks, and of Ray's own processes."""
        for pid in processes(os.getpid()):
            try:
                fields = Path("/proc", str(pid), "stat").read_text().rsplit(")", 1)[1].split()
                words = Path("/proc", str(pid), "cmdline").read_bytes()
            except OSError:
                continue
            if words.startswith(b"ray::ImagesProcess"):  # a name that changes while it works
                self.kinds[pid] = "networks"
            else:
                self.kinds.setdefault(pid, "driver" if pid == os.getpid() else "services")
            self.ticks[pid, fields[19]] = int(fields[11]) + int(fields[12])  # [19]: its start, for a number comes again
        found = {"driver": -self.before, "networks": 0.0, "services": 0.0}
        for (pid, _), ticks in self.ticks.items():
            found[self.kinds[pid]] += ticks / TICK
        return found


def private_megabytes() -> float:
    """Resident memory of the same processes, without pages that several of them have."""
    total = 0
    for pid in processes(os.getpid()):
        try:
            lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))
    return total / 1024


def bare_loop(job: ArchiveJob) -> dict[str, Any]:
    """The steps one after the other."""
    with job.parts.writer():
        new, (read, run, store) = job.prepare()
        chunks = [new[start : start + job.chunk] for start in range(0, len(new), job.chunk)]
        store(run(read(chunks[0])))
        cpu, wall = time.process_time(), time.perf_counter()
        for chunk in chunks[1:]:
            store(run(read(chunk)))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return _described(len(new) - len(chunks[0]), cpu, wall)


def on_ray(job: ArchiveJob, workers: int, look: Callable[[int], None] = lambda done: None) -> dict[str, Any]:
    """The same on Ray; ``look`` is told the number of images that are done."""
    marks: list[tuple[int, float, dict[str, float]]] = []
    done, time_used, start = 0, ProcessorTime(), time.perf_counter()
    for counts in job.run(Cluster(workers=workers)):
        if "new" in counts:
            continue
        done += sum(number for name, number in counts.items() if name != "bytes")
        marks.append((done, time.perf_counter() - start, time_used.seconds()))
        look(done)
    first = marks[0]
    # not the last chunks, when fewer are under way; and each process has ended as many in between
    steady = marks[: len(marks) - 2 * workers]
    last = steady[(len(steady) - 1) // workers * workers]
    images = last[0] - first[0]
    parts = {kind: round(1000 * (last[2][kind] - first[2][kind]) / images, 2) for kind in first[2]}
    return {
        **_described(images, sum(last[2].values()) - sum(first[2].values()), last[1] - first[1]),
        "cpu_ms_of": parts,
        "start": {"wall_s": round(first[1], 1), "cpu_s": round(sum(first[2].values()), 1)},
    }


def _described(images: int, cpu: float, wall: float) -> dict[str, Any]:
    return {"images": images, "cpu_ms": round(1000 * cpu / images, 2), "images_per_s": round(images / wall, 2)}


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--small", action="store_true", help="memory in a run over small images")
    parser.add_argument("--runtime", default="auto")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_images(root / "images", arguments.images, 64 if arguments.small else 512)
        paths = {name: path for name, path in weights_paths().items() if name in MODELS}
        settings = tiny(root) if arguments.small else ArchiveSettings.of(paths, arguments.runtime)

        def job(name: str) -> ArchiveJob:
            return ArchiveJob.of(str(root / "images"), root / name, replace(settings))

        if arguments.small:
            marks: dict[int, float] = {}
            step = max(1, arguments.images // 10)

            def look(done: int) -> None:
                if done // step > len(marks):
                    marks[done] = round(private_megabytes(), 1)
                    print(done, marks[done], flush=True)

            found = {"run": on_ray(job("ray"), 2, look), "private_megabytes": marks}
            size = sum(path.stat().st_size for path in (root / "ray" / "images").iterdir())
            print(json.dumps({**found, "parquet_bytes_per_image": size / arguments.images}))
            return
        for name, workers in (("loop", 0), ("one", 1), ("two", 2), ("loop again", 0)):
            found = on_ray(job(name), workers) if workers else bare_loop(job(name))
            print(json.dumps({name: found}), flush=True)


if __name__ == "__main__":
    main()
