"""How long a run takes and how much it writes, from a few of its images."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from monai_dgm.archive.image_list import ArchiveImage
from monai_dgm.archive.parts import ResultParts
from monai_dgm.archive.stages import ReadImages, RunModels

__all__ = ["Estimate", "estimate"]

SAMPLE = 16  # images, from all over the list


@dataclass(frozen=True)
class Estimate:
    """What a run would take.

    Attributes:
        listed: images in the source.
        new: those of them that have no row.
        sampled: those of them that were run now; their results are not kept.
        seconds_per_image: of processor time, reading and networks together.
        hours: with ``workers`` cores; None where nothing is new.
        workers: that this is for.
        parquet_bytes: that will be written.
        object_bytes: of DICOM objects that will be sent.
        failed: images of the sample that could not be used.
    """

    listed: int
    new: int
    sampled: int
    seconds_per_image: float | None
    hours: float | None
    workers: int
    parquet_bytes: int
    object_bytes: int
    failed: int

    def as_dict(self) -> dict[str, Any]:
        """The attributes as JSON can hold them."""
        return asdict(self)


def estimate(
    new: Sequence[ArchiveImage],
    listed: int,
    read: ReadImages,
    run: RunModels,
    chunk: int,
    workers: int,
) -> Estimate:
    """Run a sample in this process. Nothing is sent or kept.

    Args:
        new: images without a row.
        listed: number of all images.
        read, run: steps of the run.
        chunk: images that are stored together.
        workers: cores of the run.
    """
    number = min(SAMPLE, len(new))
    sample = [new[i * len(new) // number] for i in range(number)]
    if not sample:
        return Estimate(listed, 0, 0, None, None, workers, 0, 0, 0)
    run(read(sample[:1]))  # loads the models
    start = time.process_time()
    works = run(read(sample))
    seconds = (time.process_time() - start) / number
    objects = sum(len(one) for work in works for one in work.objects or ())
    with tempfile.TemporaryDirectory(prefix="monai-dgm-") as folder:
        aside = ResultParts(folder)
        with aside.writer():
            rows = [work.values for work in works if work.status in ("done", "failed")]
            size = aside.store((rows * chunk)[:chunk]) / chunk if rows else 0.0
    share = len(new) / number
    return Estimate(
        listed=listed,
        new=len(new),
        sampled=number,
        seconds_per_image=round(seconds, 4),
        hours=round(seconds * len(new) / workers / 3600, 4),
        workers=workers,
        parquet_bytes=round(size * len(new)),
        object_bytes=round(objects * share),
        failed=sum(work.status == "failed" for work in works),
    )
