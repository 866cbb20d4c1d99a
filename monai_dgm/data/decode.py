"""Decode radiograph files to the 16-bit squares of the cache, in this process or in several.

This module does not import torch or MONAI: every decoding process imports it, and they would take seconds.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monai_dgm.errors import reason_of
from monai_dgm.readers.read import read_radiograph
from monai_dgm.transforms.geometry import RadiographGeometry, prepare_radiograph

UINT16_MAX = 65535
MIN_PARALLEL = 64  # with fewer images, starting processes takes longer than decoding
PATIENCE_SECONDS = 5.0  # remaining work below which no further processes are started
_CHUNK = 8
_NO_GUARD = "a main script without `if __name__ == '__main__':`; num_workers=0 decodes in this process"


@dataclass(frozen=True)
class Settings:
    """Settings of the preparation, see :func:`monai_dgm.transforms.geometry.prepare_radiograph`."""

    size: int
    fit: str = "pad"
    percentiles: tuple[float, float] | None = (0.5, 99.5)


@dataclass(frozen=True)
class Decoded:
    """One decoded file: ``image`` uint16 (S, S) and its geometry, or the reason why it cannot be used."""

    image: NDArray[np.uint16] | None
    geometry: RadiographGeometry | None
    reason: str | None = None


def to_uint16(image: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Convert [-1, 1] to 0..65535; the step of 3e-5 is smaller than that of a 14-bit detector."""
    return np.rint((image.astype(np.float64) + 1.0) * (UINT16_MAX / 2)).astype(np.uint16)


def to_float32(image: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Convert 0..65535 to [-1, 1]: the inverse of :func:`to_uint16`, exact to half a step."""
    values = np.multiply(image, np.float32(2.0 / UINT16_MAX), dtype=np.float32)
    values -= np.float32(1.0)
    return values


def decode_file(path: str, settings: Settings) -> Decoded:
    """Read and prepare one file; for a file that cannot be used the reason is returned, and nothing is raised."""
    try:
        radiograph = read_radiograph(path)
    except Exception as error:
        return Decoded(None, None, reason_of(error, path))
    try:
        image, geometry = prepare_radiograph(
            radiograph.pixels,
            settings.size,
            settings.fit,
            settings.percentiles,
            radiograph.pixel_spacing,
            radiograph.valid,
            radiograph.orientation,
            radiograph.aspect,
        )
    except Exception as error:
        reason = reason_of(error, path)
        return Decoded(None, None, reason if reason.startswith(path) else f"{path}: {reason}")
    return Decoded(to_uint16(image[0]), geometry)


def decode_files(paths: Sequence[str], settings: Settings, num_workers: int | None = None) -> Iterator[Decoded]:
    """Decode files in their order, in several processes if there is enough work.

    Args:
        paths: files to decode.
        settings: size, fit and percentiles.
        num_workers: number of processes; 0 or 1 decodes in this one. None takes up to 8 processes if there are more
            than 64 images and more than a few seconds of work.

    Raises:
        RuntimeError: a decoding process died.
    """
    done = 0
    workers = min(_available_cpus(), 8) if num_workers is None else num_workers
    if workers < 2 or len(paths) <= MIN_PARALLEL:
        workers = 0
    begin = time.monotonic()
    # without a given number, the time of the first images decides
    alone = len(paths) if workers == 0 else 2 * _CHUNK if num_workers is None else 0
    while done < alone:
        yield decode_file(paths[done], settings)
        done += 1
        if workers and done == alone and _seconds_left(begin, done, len(paths)) < PATIENCE_SECONDS:
            alone = len(paths)
    if done < len(paths):
        yield from _decode_parallel(paths[done:], settings, workers)


def _seconds_left(begin: float, done: int, total: int) -> float:
    return (time.monotonic() - begin) / done * (total - done)


def _available_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _decode_parallel(paths: Sequence[str], settings: Settings, workers: int) -> Iterator[Decoded]:
    # spawn: a fork of a process in which torch has started threads can hang
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)
    try:
        yield from pool.map(decode_file, paths, [settings] * len(paths), chunksize=_CHUNK)
    except BrokenProcessPool as error:
        raise RuntimeError(f"a decoding process died: out of memory, a decoder that crashes, or {_NO_GUARD}") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def check_main_guard() -> None:
    """Refuse to work in a process that is only starting, and runs its parent's main script to do so.

    Such a script has no ``if __name__ == "__main__":``. It would wait here for the lock that its parent holds.

    Raises:
        RuntimeError: this process is starting.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # as multiprocessing tells it
        raise RuntimeError(_NO_GUARD)


def _end_with_parent() -> None:
    # the processes of a pool would wait forever after their parent is killed
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
