"""Start of a bundle's run: default settings, seeds, logging, and what is printed first."""

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

import torch
from monai.utils import set_determinism

from monai_dgm.data.sources import Splits, duplicate_warnings, split_warnings
from monai_dgm.engines.overrides import check_overrides
from monai_dgm.errors import InputError, UsageError, input_error_of

__all__ = [
    "announce",
    "choose",
    "mixed_precision",
    "prepare_inference",
    "prepare_run",
    "report_input_errors_in_one_line",
    "select_defaults",
]

logger = logging.getLogger(__name__)


def select_defaults(
    dataset_dir: str | os.PathLike[str] | None, sample_file: str | os.PathLike[str], real_data: Mapping[str, Any]
) -> dict[str, Any]:
    """Default settings of a training: those for real data, or those for the embedded sample where no folder is given.

    Args:
        dataset_dir: folder of the radiographs; None for the embedded sample.
        sample_file: JSON file with the settings that differ for the sample, each a key of ``real_data``.
        real_data: every setting by its name.

    Raises:
        InputError: the file cannot be read, or has a setting that ``real_data`` does not have.
    """
    if dataset_dir is not None:
        return dict(real_data)
    try:
        sample = json.loads(Path(sample_file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{sample_file}: expected a JSON file with the settings for the embedded sample, it cannot be read; "
            "run from the folder that holds the bundle, or give --bundle_root"
        ) from error
    unknown = sorted(set(sample) - set(real_data)) if isinstance(sample, dict) else [type(sample).__name__]
    if unknown:
        raise InputError(f"{sample_file}: expected settings of {', '.join(real_data)}, got {', '.join(unknown)}")
    return {**real_data, **sample}


def choose(settings: Mapping[str, Any], name: str, key: str) -> Any:
    """The settings of a name.

    Args:
        settings: by name.
        name: the one that is asked for.
        key: of the configuration that has the name.

    Raises:
        UsageError: there are none of that name.
    """
    if name not in settings:
        raise UsageError(f"{key}: expected {' or '.join(settings)}, got {name!r}")
    return settings[name]


def mixed_precision(device: torch.device | str) -> torch.dtype | None:
    """The number type of a training's autocast: bfloat16 where the device computes with it, else None, full precision.

    Float16 is not used: it needs its losses scaled. A GPU older than Ampere emulates bfloat16, and a CPU without
    AVX-512 computes with it by a slow general path: both are faster in full precision.

    Args:
        device: of the training.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = kind == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if not native:
        logger.info("%s computes with bfloat16 slowly or not at all: training in full precision", kind)
    return torch.bfloat16 if native else None


def prepare_run(
    seed: int, output_dir: str | os.PathLike[str], ckpt_dir: str | os.PathLike[str] | None = None, rank: int = 0
) -> None:
    """Seed every random generator, start logging, and delete the partial files that a killed run has left.

    Args:
        seed: of the run; each process gets its own from it.
        output_dir: made when missing.
        ckpt_dir: folder that a training writes its model to: ``.partial-*`` files there and in ``output_dir`` are
            deleted. None for an evaluation, which may run while a training writes to the same folders.
        rank: of this process; only rank 0 deletes files.
    """
    _start()
    set_determinism(seed + 1_000_003 * rank)
    logging.getLogger("ignite").setLevel(logging.WARNING)
    output = Path(output_dir)
    output.mkdir(parents=True, exist_ok=True)
    if rank == 0 and ckpt_dir is not None:
        for folder in (output, output / "report", output / "tensorboard", Path(ckpt_dir)):
            for leftover in folder.glob(".partial-*"):
                leftover.unlink(missing_ok=True)


def prepare_inference(
    dataset_dir: str | os.PathLike[str] | None, output_dir: str | os.PathLike[str], doing: str = "decomposing"
) -> None:
    """Start logging and print what is done with which radiographs, and the output folder.

    Args:
        dataset_dir: a radiograph or a folder of radiographs; None where the configuration is only loaded, as
            ``monai.bundle.load`` does for the network: nothing is printed.
        output_dir: folder of the results.
        doing: first words of the printed line, such as "decomposing".
    """
    _start()
    logging.getLogger("ignite").setLevel(logging.CRITICAL)  # an error is the command's own line
    if dataset_dir is not None:
        print(f"{doing} {dataset_dir} into {output_dir}. Research software; not a medical device.", flush=True)


def _start() -> None:
    """First step of training and inference.

    The modules imported so far stay until the process ends, so the garbage collector is told to skip their half a
    million objects. That saves most of a second at the end of the process.
    """
    report_input_errors_in_one_line()
    gc.freeze()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    check_overrides(sys.argv)


def report_input_errors_in_one_line() -> None:
    """Print an :class:`InputError` that ends the program as one line, without a traceback.

    The exit status is 1, and 2 where it is a :class:`UsageError`.
    """

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        cause = input_error_of(error)
        if cause is None:
            sys.__excepthook__(kind, error, traceback)
        else:
            print(f"error: {cause}", file=sys.stderr)
            if isinstance(cause, UsageError):
                raise SystemExit(2)

    sys.excepthook = hook


def announce(
    splits: Splits, settings: Mapping[str, Any], output_dir: str | os.PathLike[str], on_sample: bool = False
) -> None:
    """Print the data, the number of images in each split, the settings, and whether a training is resumed.

    It warns where weights may have seen the test images (:func:`monai_dgm.data.sources.split_warnings`), and where the
    same file is in two splits (:func:`monai_dgm.data.sources.duplicate_warnings`).

    Args:
        splits: training, validation and test data.
        settings: of the model.
        output_dir: folder of the run, with its cache; a ``checkpoint.pt`` in it is resumed.
        on_sample: whether the data are the embedded sample.
    """
    print(f"data: {splits.description}")
    print(
        f"images: {len(splits.training)} to train on, {len(splits.validation)} to validate, {len(splits.test)} to test"
    )
    print("settings: " + json.dumps(dict(settings)))
    for warning in split_warnings(splits, settings) + duplicate_warnings(splits, Path(output_dir) / "cache"):
        logger.warning(warning)
    if on_sample:
        print(
            "This is the embedded sample at a size made for 2 CPU cores: it shows that the method\n"
            "works, not what it reaches on real radiographs. --dataset_dir FOLDER trains on yours, at the paper's size."
        )
    checkpoint = Path(output_dir) / "checkpoint.pt"
    if checkpoint.is_file():
        print(f"Going on from {checkpoint}; remove it, or give another --output_dir, to start anew.")
    print("Research software; not a medical device.", flush=True)
