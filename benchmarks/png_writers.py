"""How long programs take to write the pictures of a decomposition as PNG, and how large the files are.

    pip install imagecodecs opencv-python-headless
    python benchmarks/png_writers.py OUT

OUT is a folder that ``monai-dgm decompose`` wrote. Each picture is written by all of them in turns; medians of the
processor time, as ratio to ``monai_dgm.utils.png``. Every file is read again and compared with the picture.
"""

from __future__ import annotations

import argparse
import io
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
from PIL import Image

from monai_dgm.utils.png import encode_png

PICTURES = ("overlay.png", "panel.png", "normal.png", "saliency.png")


def pillow(levels: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG", **options)
    return buffer.getvalue()


def opencv(levels: np.ndarray) -> bytes:
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    options += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
    picture = cv2.cvtColor(levels, cv2.COLOR_RGB2BGR) if levels.ndim == 3 else levels
    _, content = cv2.imencode(".png", picture, options)
    return content.tobytes()


def png_by_imagecodecs(levels: np.ndarray) -> bytes:
    names = imagecodecs.PNG
    return imagecodecs.png_encode(levels, level=1, strategy=names.STRATEGY.RLE, filter=names.FILTER.UP)


WRITERS: dict[str, Callable[[np.ndarray], bytes]] = {
    "monai_dgm.utils.png": encode_png,
    "Pillow, level 6": pillow,
    "Pillow, level 1": lambda levels: pillow(levels, compress_level=1),
    "Pillow, level 1, runs": lambda levels: pillow(levels, compress_level=1, compress_type=zlib.Z_RLE),
    "Pillow, level 1, Huffman": lambda levels: pillow(levels, compress_level=1, compress_type=zlib.Z_HUFFMAN_ONLY),
    "OpenCV, level 1, runs, filter up": opencv,
    "imagecodecs, level 1, runs, filter up": png_by_imagecodecs,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repetitions", type=int, default=8)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    for file in sorted(path for name in PICTURES for path in given.folder.glob(f"*/{name}")):
        levels = np.asarray(Image.open(file))
        levels = levels.astype(np.uint16) if levels.dtype.itemsize > 1 else levels
        times: dict[str, list[float]] = {name: [] for name in WRITERS}
        sizes = {}
        for _ in range(given.repetitions):
            for name, write in WRITERS.items():
                started = time.process_time()
                content = write(levels)
                times[name].append(time.process_time() - started)
                sizes[name] = len(content)
                assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), levels), name
        medians = {name: float(np.median(values)) for name, values in times.items()}
        print(f"{file.relative_to(given.folder)} {levels.shape} {levels.dtype}")
        for name, median in medians.items():
            ratio = median / medians["monai_dgm.utils.png"]
            print(f"  {name:38s}{1e3 * median:7.1f} ms  {ratio:5.2f}  {sizes[name] / 1000:7.0f} kB")


if __name__ == "__main__":
    main()
