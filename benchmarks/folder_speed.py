"""How many radiographs of a folder a second, before and after a change, in one run; and whether the results are equal.

    python benchmarks/folder_speed.py --before b69e735 --output OUT

Decomposes a folder of 512 px JPEG files, and one of DICOM files of 2,000 x 2,000 pixels and 12 bits, with the shipped
weights of decomposer, lungs and detector, as ``bundles/dgm/configs/inference.json`` does. The files are packaged
radiographs, enlarged. Each measurement is a process of its own, in which a first run of 4 images is not counted; the
variants take turns. "cpu" is the processor time of the process for an image: two cores can do no more than 2 / cpu
images a second, and other programs on the machine change it less than the time on the clock. Threads that wait sleep
(OMP_WAIT_POLICY=passive), since otherwise they count as work. What a product of large matrices reaches in the same run
says how fast the networks' arithmetic could be at best.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PRODUCTS = """
import sys, time, torch
torch.set_num_threads(1)
one, number = torch.rand(2048, 2048).to(getattr(torch, sys.argv[1])), 0
one @ one
started = time.perf_counter()
while time.perf_counter() - started < 4:
    one @ one
    number += 1
print(2e-9 * 2048**3 * number / (time.perf_counter() - started))
"""  # of large matrices in one thread: GFLOP a second
ROOT = Path(__file__).resolve().parent.parent
BEFORE: dict[str, dict[str, Any]] = {"before": {"panels": True}, "before, no panel": {"panels": False}}
AFTER: dict[str, dict[str, Any]] = {
    "torch, all files": {"runtime": "torch"},
    "openvino, all files": {"runtime": "openvino"},
    "openvino, no panel": {"runtime": "openvino", "panels": False},
    "openvino, maps": {"runtime": "openvino", "outputs": "maps"},
    "openvino, scores": {"runtime": "openvino", "outputs": "scores"},
    "openvino, scores, no detector": {"runtime": "openvino", "outputs": "scores", "detector_path": "none"},
    "openvino bf16, scores": {"runtime": "openvino-bf16", "outputs": "scores"},
    "openvino bf16, all files": {"runtime": "openvino-bf16"},
}


def write_folder(folder: Path, kind: str, count: int) -> None:
    """``count`` files made of the packaged radiographs, each a little different."""
    folder.mkdir(parents=True)
    sources = sorted((ROOT / "monai_dgm" / "data" / "examples" / "images").glob("*.png"))
    side = 512 if kind == "jpeg" else 2000
    for i in range(count):
        image = Image.open(sources[i % len(sources)]).convert("L").rotate(0.2 * (i // len(sources)), Image.BICUBIC)
        image = image.resize((side, side), Image.BICUBIC)
        if kind == "jpeg":
            image.save(folder / f"{i:04d}.jpg", quality=92)
        else:
            _write_dicom(folder / f"{i:04d}.dcm", np.asarray(image, dtype=np.uint16) * 16)


def _write_dicom(path: Path, pixels: np.ndarray) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = generate_uid(), ExplicitVRLittleEndian
    ds = Dataset()
    ds.file_meta, ds.SOPClassUID = meta, meta.MediaStorageSOPClassUID
    ds.SOPInstanceUID, ds.StudyInstanceUID = meta.MediaStorageSOPInstanceUID, generate_uid()
    ds.SeriesInstanceUID, ds.Modality, ds.PatientID = generate_uid(), "DX", "made"
    ds.BodyPartExamined, ds.ViewPosition, ds.PhotometricInterpretation = "CHEST", "PA", "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 1, 16, 12, 11, 0
    ds.PixelSpacing = [0.17, 0.17]
    ds.PixelData = pixels.tobytes()
    ds.is_little_endian, ds.is_implicit_VR = True, False
    ds.save_as(path, write_like_original=False)


def run_here(given: argparse.Namespace) -> None:
    """One measurement in this process, with the package and the bundles of the current folder."""
    import logging

    from monai.bundle import ConfigWorkflow

    logging.disable(logging.INFO)
    options = json.loads(given.options)
    times = {}
    for name, count in (("warm", 4), ("run", None)):
        folder = Path(given.folder)
        if count is not None:
            first = Path(tempfile.mkdtemp())
            for path in sorted(folder.iterdir())[:count]:
                (first / path.name).symlink_to(path)
            folder = first
        workflow = ConfigWorkflow(
            workflow_type="infer", config_file="bundles/dgm/configs/inference.json", logging_file=False,
            dataset_dir=str(folder), output_dir=str(Path(given.output) / name), **options,
        )  # fmt: skip
        workflow.initialize()
        workflow.parser.get_parsed_content("evaluator")  # loads and exports the models
        wall, cpu = time.perf_counter(), time.process_time()
        workflow.run()
        times = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    number = len(list(Path(given.folder).iterdir()))
    print("RESULT " + json.dumps({name: value / number for name, value in times.items()}))


def measure(tree: Path, folder: Path, output: Path, options: dict[str, Any]) -> dict[str, float]:
    """Seconds an image, on the clock and of processor time."""
    command = [sys.executable, str(Path(__file__).resolve()), "--folder", str(folder), "--output", str(output)]
    env = {**os.environ, "PYTHONPATH": str(tree), "PYTHONWARNINGS": "ignore", "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(
        [*command, "--options", json.dumps(options)], cwd=tree, env=env, capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise SystemExit(f"{options}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(lines[0].removeprefix("RESULT "))
    return found


def matrix_speed() -> dict[str, float]:
    """GFLOP a second that products of matrices reach, by precision and number of processes at once."""
    found = {}
    for precision in ("float32", "bfloat16"):
        for number in (1, 2):
            command = [sys.executable, "-c", PRODUCTS, precision]
            running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(number)]
            found[f"{precision}, {number}"] = round(sum(float(one.communicate()[0]) for one in running), 1)
    return found


def compare(before: Path, after: Path) -> dict[str, float]:
    """Largest differences of two folders of results: levels of pictures, values of maps, numbers of scores.json."""
    import nibabel

    worst = {"normal.png": 0.0, "residue.png": 0.0, "saliency.png": 0.0, "overlay.png": 0.0, "residue.nii.gz": 0.0}
    differing = dict.fromkeys(worst, 0)
    for folder in sorted(path for path in before.iterdir() if path.is_dir()):
        for name in worst:
            one, two = (
                np.asarray(nibabel.load(path).dataobj) if name.endswith("gz") else np.asarray(Image.open(path))
                for path in (folder / name, after / folder.name / name)
            )
            difference = np.abs(one.astype(np.float64) - two.astype(np.float64))
            worst[name] = max(worst[name], float(difference.max()))
            differing[name] += int(np.count_nonzero(difference))
    scores = [json.loads((folder / "scores.json").read_text())["images"] for folder in (before, after)]
    numbers = [list(_numbers(one)) for one in scores]
    assert len(numbers[0]) == len(numbers[1]), "scores.json lists other things"
    worst["scores.json"] = max(abs(a - b) for a, b in zip(*numbers, strict=True))
    return {**worst, **{f"differing pixels of {name}": number for name, number in differing.items()}}


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        for key in sorted(value):
            yield from _numbers(value[key]) if key != "uncertainty" else ()
    elif isinstance(value, list):
        for one in value:
            yield from _numbers(one)
    elif isinstance(value, int | float):
        yield float(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", help="commit to compare with; none measures this tree alone")
    parser.add_argument("--output", required=True, help="folder of the files and results")
    parser.add_argument("--jpegs", type=int, default=96)
    parser.add_argument("--dicoms", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="*", help="names of variants")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--options", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.options is not None:
        run_here(given)
        return
    output = Path(given.output).absolute()
    trees = {name: (ROOT, options) for name, options in AFTER.items()}
    if given.before:
        tree = output / "before_tree"
        if not tree.exists():
            subprocess.run(["git", "worktree", "add", "--detach", str(tree), given.before], cwd=ROOT, check=True)
        trees = {**{name: (tree, options) for name, options in BEFORE.items()}, **trees}
    if given.only:
        trees = {name: known for name, known in trees.items() if name in given.only}
    speed = matrix_speed()
    print(f"GFLOP a second of a product of matrices: {speed}", flush=True)
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for kind, count in (("jpeg", given.jpegs), ("dicom", given.dicoms)):
        if not count:
            continue
        folder = output / f"{kind}{count}"
        if not folder.exists():
            write_folder(folder, kind, count)
        for _ in range(given.rounds):
            for name, (tree, options) in trees.items():
                one = measure(tree, folder, output / "results" / kind / name, options)
                found.setdefault(kind, {}).setdefault(name, []).append(one)
                print(f"{kind} {name}: {1 / one['wall']:.1f} a second, {1e3 * one['cpu']:.0f} ms cpu", flush=True)
        for name in ("torch, all files", "openvino, all files"):
            if {"before", name} <= trees.keys():
                results = output / "results" / kind
                print(f"{kind}, before against {name}: {compare(results / 'before/run', results / name / 'run')}")
    (output / "folder_speed.json").write_text(json.dumps({"gflops": speed, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
