"""What happens before a training starts: seeds, logging, and words about what is going to happen."""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from monai.utils import set_determinism

from monai_dgm.data.sources import Splits
from monai_dgm.errors import InputError, UsageError

__all__ = ["announce", "prepare_inference", "prepare_run", "report_input_errors_in_one_line"]


def prepare_run(
    seed: int, rank: int, output_dir: str | os.PathLike[str], ckpt_dir: str | os.PathLike[str] | None = None
) -> None:
    """Seed every generator (differently in each process), start logging, and clear what a killed run left half written.

    Args:
        seed: of the run.
        rank: of this process.
        output_dir: made when missing.
        ckpt_dir: where a training writes its model: ``.partial-*`` files there and in ``output_dir`` are leftovers of a
            kill. None for a run that does not train, and may go on beside one that does.
    """
    _start()
    set_determinism(seed + 1_000_003 * rank)
    logging.getLogger("ignite").setLevel(logging.WARNING)
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if rank == 0 and ckpt_dir is not None:
        for place in (folder, folder / "report", folder / "tensorboard", Path(ckpt_dir)):
            for leftover in place.glob(".partial-*"):
                leftover.unlink(missing_ok=True)


def prepare_inference(
    dataset_dir: str | os.PathLike[str] | None, output_dir: str | os.PathLike[str], doing: str = "decomposing"
) -> None:
    """Start logging and say what is going to be done with what, into where.

    Raises:
        UsageError: no ``dataset_dir``.
    """
    _start()
    if dataset_dir is None:
        raise UsageError("dataset_dir: expected a radiograph or a folder of them (DICOM, PNG, JPEG, NIfTI), got none")
    print(f"{doing} {dataset_dir} into {output_dir}. Research software; not a medical device.", flush=True)


def _start() -> None:
    """What training and inference begin with.

    What has been imported by now stays to the end: the garbage collector need not look at it again. That is half a
    million objects, and most of a second when the process ends.
    """
    report_input_errors_in_one_line()
    gc.freeze()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def report_input_errors_in_one_line() -> None:
    """Let an :class:`InputError` that ends the program reach the user as its one line, without a traceback.

    The exit status is 1, and 2 where it is a :class:`UsageError`.
    A bundle wraps errors of its configuration's expressions in others; the user's file is at fault, not they.
    """

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            sys.__excepthook__(kind, error, traceback)
        else:
            print(f"error: {cause}", file=sys.stderr)
            if isinstance(cause, UsageError):
                raise SystemExit(2)

    sys.excepthook = hook


def announce(splits: Splits, settings: Mapping[str, Any], output_dir: str | os.PathLike[str], on_sample: bool) -> None:
    """Print what is trained on what, and what to expect."""
    print(f"data: {splits.description}")
    print(
        f"images: {len(splits.training)} to train on, {len(splits.validation)} to validate, {len(splits.test)} to test"
    )
    print("settings: " + json.dumps(dict(settings)))
    if on_sample:
        print(
            "This is the embedded sample at a size made for 2 CPU cores: it shows that the method\n"
            "works, not what it reaches on real radiographs. --dataset_dir FOLDER trains on yours, at the paper's size."
        )
    checkpoint = Path(output_dir) / "checkpoint.pt"
    if checkpoint.is_file():
        print(f"Going on from {checkpoint}; remove it, or give another --output_dir, to start anew.")
    print("Research software; not a medical device.", flush=True)
