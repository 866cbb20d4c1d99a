"""``monai-dgm train``: a bundle's training, in one or several processes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from monai_dgm.cli.bundle_run import (
    BundleOption,
    DatasetArgument,
    OverridesArgument,
    bundle_configs,
    bundle_words,
    dataset_and_overrides,
    run_bundle,
)

SEVERAL = "multi_gpu_train"


def train(
    dataset: DatasetArgument = None,
    overrides: OverridesArgument = None,
    bundle: BundleOption = "dgm",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the run and its model.")] = None,
    overlay: Annotated[
        list[str] | None, typer.Option("--with", help="Configuration of the bundle on top, such as boxes or paper.")
    ] = None,
    nproc: Annotated[int, typer.Option(min=1, help="Processes on this machine, by torchrun: one for each GPU.")] = 1,
) -> int:
    """Train a bundle's model.

    Keys of its configuration follow after --, as in: monai-dgm train DATA --nproc 2 -- --max_epochs 30
    """
    configs = bundle_configs(bundle, ["train", *(overlay or []), *([SEVERAL] if nproc > 1 else [])])
    folders = {} if output is None else {"output_dir": output, "ckpt_dir": output / "models"}
    dataset, words = dataset_and_overrides(dataset, overrides)
    return run_bundle(bundle_words("training", configs, {"dataset_dir": dataset, **folders}, words, nproc))
