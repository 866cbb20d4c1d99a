"""Mutated inputs for every reader of the package: each is read or refused in one line, quickly and in bounded memory.

``python -m tests.fuzzing --inputs 1000000 --keep FOLDER`` runs until that many inputs were tried or ``--seconds`` are
over, and writes each input that did anything else into FOLDER. The corpus is made by the package's own writers and by
the writers of the tests. An input is a function of its number, so that a finding can be made again with ``--start``.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from PIL import Image

from monai_dgm.data.manifest import load_manifest
from monai_dgm.data.rsna import parse_boxes
from monai_dgm.errors import InputError
from monai_dgm.labelling.dicom_objects.derived import encode_dicom
from monai_dgm.labelling.dicom_objects.structured_report_reader import read_opacity_report
from monai_dgm.labelling.labels.image_label import ImageLabel, LabelledBox
from monai_dgm.labelling.labels.json_input import parse_json
from monai_dgm.labelling.labels.label_io import labels_to_coco, labels_to_rsna_csv, parse_coco
from monai_dgm.labelling.labels.markups import boxes_to_markups, markups_to_boxes
from monai_dgm.readers.dicom.read import read_header
from monai_dgm.transforms.placement import Placement
from tests.labelling.dicom_objects.study import area, comment, corners, group, radiograph_header, region, report
from tests.readers.dicom.raw_files import Element, fragments, lut_item, phantom, radiograph_bytes, rle
from tests.readers_sweeps import use_radiograph

MAX_SECONDS = 2.0
MAX_BYTES = 1 << 30  # by which the process may grow over all inputs
SECRET = b"Doe^Jane"
Use = Callable[[bytes, Path], None]

_NUMBERS = [0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1]
_TOKENS = [b"", b"null", b"true", b"NaN", b"-1", b"1e999", b"0", b"[]", b"{}", b'""', b"9" * 400, b"\xff", b"\\u0000"]
_TOKENS += [b"[" * 500, b",", b"\n", b'"', b"1.5", b"-0.0", b"65536", b"\xef\xbb\xbf", b"'", b";"]


@dataclass(frozen=True)
class Target:
    """One reader.

    Args:
        seeds: whole inputs.
        use: reads one input; it is given a path that it may write to.
        is_text: mutate words, too.
    """

    seeds: list[bytes]
    use: Use
    is_text: bool = False


def mutate(seeds: list[bytes], number: int, is_text: bool) -> bytes:
    """Input ``number`` of a target."""
    generator = np.random.default_rng(number)
    data = bytearray(seeds[generator.integers(len(seeds))])
    for _ in range(int(generator.integers(1, 5))):
        kind = int(generator.integers(8 if is_text else 7))
        # headers come first, and are worth more tries than pixels
        reach = len(data) if generator.random() < 0.3 else min(len(data), 700)
        place = int(generator.integers(reach + 1))
        length = int(generator.integers(1, 1 + min(64, max(1, len(data)))))
        if kind == 0 and place < len(data):
            data[place] ^= 1 << int(generator.integers(8))
        elif kind == 1:
            data[place : place + 1] = bytes([int(generator.integers(256))])
        elif kind == 2:
            size, value = int(generator.choice([1, 2, 4])), _NUMBERS[generator.integers(len(_NUMBERS))]
            order = "little" if generator.random() < 0.7 else "big"
            data[place : place + size] = (value % (1 << 8 * size)).to_bytes(size, order)
        elif kind == 3:
            del data[place : place + length]
        elif kind == 4:
            data[place:place] = data[place : place + length]
        elif kind == 5 and generator.random() < 0.3:
            del data[place:]
        elif kind == 6:
            other = seeds[generator.integers(len(seeds))]
            begin = int(generator.integers(len(other) + 1))
            data[place : place + length] = other[begin : begin + length]
        elif kind == 7:
            data[place : place + int(generator.integers(6))] = _TOKENS[generator.integers(len(_TOKENS))]
    return bytes(data)


def targets() -> dict[str, Target]:
    """All readers by name."""
    label = ImageLabel(
        "image_1", (400, 300), "boxes", (LabelledBox((10, 20, 60, 80.5), "lung_opacity", 0.5),), "Doe", "import"
    )
    empty = ImageLabel("image_2", (400, 300), "no_finding", (), "Doe", "import")
    placement = Placement.from_spacing(400, 300, (0.2, 0.2))
    coco = json.dumps(labels_to_coco([label, empty])).encode()
    markups = json.dumps(boxes_to_markups(label.boxes, placement)).encode()
    manifest = b'image,label,opacity_boxes,width,height,fold\na.png,lung_opacity,"[[1, 2, 9.5, 12]]",24,24,0\n'
    return {
        "dicom": Target(_dicom_seeds(), _use_image),
        "png": Target([_picture("PNG"), _picture("PNG", 16)], _use_image),
        "jpeg": Target([_picture("JPEG"), _picture("JPEG", progressive=True)], _use_image),
        "nifti": Target(_nifti_seeds(), _use_image),
        "label": Target([json.dumps(one.as_dict()).encode() for one in (label, empty)], _use_label, True),
        "markups": Target([markups], partial(_use_markups, placement), True),
        "coco": Target([coco], lambda content, path: _discard(parse_coco(content, "input", 10**6, "reader")), True),
        "rsna": Target(
            [labels_to_rsna_csv([label, empty]).encode()],
            lambda content, path: _discard(parse_boxes(content, "input")),
            True,
        ),
        "manifest": Target([manifest], _use_manifest, True),
        "report": Target(_report_seeds(), _use_report),
    }


def _discard(value: object) -> None:
    pass


def _use_image(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    use_radiograph(path)


def _use_label(content: bytes, path: Path) -> None:
    ImageLabel.from_dict(parse_json(content, "input", 10**6), "input")


def _use_markups(placement: Placement, content: bytes, path: Path) -> None:
    markups_to_boxes(content, placement)


def _use_manifest(content: bytes, path: Path) -> None:
    (path.parent / "a.png").touch()
    path.write_bytes(content)
    load_manifest(path.parent, path.name)


def _use_report(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    read_opacity_report(read_header(path))


def _dicom_seeds() -> list[bytes]:
    pixels, small = phantom(24), phantom(24, top=255)
    shown: dict[int, Element | None] = {0x00281050: ("DS", "2000"), 0x00281051: ("DS", "3000")}
    shown |= {0x00281052: ("DS", "-100"), 0x00281053: ("DS", "2"), 0x00200020: ("CS", "L\\F")}
    tables: dict[int, Element | None] = {
        0x00283000: ("SQ", lut_item(0, np.arange(512), 16)),
        0x00283010: ("SQ", lut_item(0, np.arange(512), 10)),
    }
    stream = io.BytesIO()
    Image.fromarray(small.astype(np.uint8)).save(stream, format="JPEG2000", no_jp2=True, irreversible=False)
    seeds = [
        radiograph_bytes(pixels, shown),
        radiograph_bytes(pixels, shown, "1.2.840.10008.1.2", implicit=True),
        radiograph_bytes(pixels, tables, signed=1),
        radiograph_bytes(pixels, None, "1.2.840.10008.1.2.5", pixel_data=fragments(rle(pixels))),
        radiograph_bytes(small, None, "1.2.840.10008.1.2.4.90", 8, 8, pixel_data=fragments(stream.getvalue())),
        radiograph_bytes(small, None, "1.2.840.10008.1.2.4.50", 8, 8, pixel_data=fragments(_picture("JPEG"))),
    ]
    try:
        import jpeg_ls
    except ImportError:
        return seeds
    data = bytes(jpeg_ls.encode_array(small.astype(np.uint8)))
    return [*seeds, radiograph_bytes(small, None, "1.2.840.10008.1.2.4.80", 8, 8, pixel_data=fragments(data))]


def _picture(kind: str, bits: int = 8, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(phantom(24, top=(1 << bits) - 1).astype(f"u{bits // 8}")).save(stream, format=kind, **options)
    return stream.getvalue()


def _nifti_seeds() -> list[bytes]:
    pixels, affine = phantom(24).astype(np.int16), np.diag([-0.3, -0.2, 1, 1])
    return [kind(pixels, affine).to_bytes() for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image)]


def _report_seeds() -> list[bytes]:
    header = radiograph_header(PatientName="Doe^Jane", OtherPatientIDs=None)
    box = region(header, "POLYLINE", corners(10, 20, 60, 80))
    round_one = region(header, "ELLIPSE", [10, 10, 30, 10, 20, 5, 20, 15])
    document = report(header, group(area(box), comment("opacity 0.87")), group(area(round_one)))
    document.file_meta = pydicom.dataset.FileMetaDataset()
    document.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    document.file_meta.MediaStorageSOPClassUID = document.SOPClassUID
    document.file_meta.MediaStorageSOPInstanceUID = document.SOPInstanceUID
    document.SpecificCharacterSet = "ISO_IR 192"
    return [encode_dicom(document)]


def outcome_of(use: Use, content: bytes, path: Path) -> str:
    """ "read", "refused", or what else happened."""
    begin = time.process_time()  # not the clock on the wall: the long run yields to all others
    try:
        use(content, path)
        outcome = "read"
    except InputError as error:
        message = str(error)
        quoted = SECRET.decode() in message
        outcome = "refused" if "\n" not in message and not quoted else f"message of {len(message)} characters"
    except Exception as error:
        outcome = f"foreign: {type(error).__name__}: {str(error)[:200]}"
    seconds = time.process_time() - begin
    return outcome if seconds <= MAX_SECONDS else f"slow: {seconds:.1f} s"


def fuzz(
    names: list[str], start: int, inputs: int, seconds: float, keep: Path | None = None
) -> tuple[dict[str, Counter[str]], int]:
    """Try inputs in turn for each target.

    Args:
        names: of the targets.
        start: number of the first input.
        inputs: how many, over all targets.
        seconds: stop after that.
        keep: folder for inputs that are neither read nor refused.

    Returns:
        outcomes by target, and bytes by which the process has grown.
    """
    known = {name: target for name, target in targets().items() if name in names}
    counts: dict[str, Counter[str]] = {name: Counter() for name in known}
    grown_from = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        warnings.simplefilter("ignore")
        for number in range(start, start + -(-inputs // len(known))):
            for name, target in known.items():
                content = mutate(target.seeds, number, target.is_text)
                outcome = outcome_of(target.use, content, Path(folder, "input"))
                counts[name][outcome] += 1
                if outcome not in ("read", "refused") and keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{name}-{number}").write_bytes(content)
            if time.monotonic() > end:
                break
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown_from)
    return counts, grown


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--targets", nargs="*", default=list(targets()))
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    tried = bad = 0
    begin, number = time.monotonic(), options.start
    share = 1000 * len(options.targets)
    while tried < options.inputs and time.monotonic() - begin < options.seconds:
        left = options.seconds - (time.monotonic() - begin)
        counts, grown = fuzz(options.targets, number, min(share, options.inputs - tried), left, options.keep)
        tried += sum(one.total() for one in counts.values())
        number += 1000
        others = {name: {k: v for k, v in one.items() if k not in ("read", "refused")} for name, one in counts.items()}
        bad += sum(sum(one.values()) for one in others.values()) + (grown > MAX_BYTES)
        found = {name: one for name, one in others.items() if one}
        print(f"{tried} inputs, {bad} bad, grown by {grown >> 20} MiB {found or ''}", flush=True)
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
