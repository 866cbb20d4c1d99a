"""``monai-dgm evaluate``: metrics of trained weights on a data set, with their report."""

from __future__ import annotations

import json
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
from monai_dgm.cli.output import JsonOption, print_json
from monai_dgm.errors import InputError


def evaluate(
    dataset: DatasetArgument = None,
    overrides: OverridesArgument = None,
    bundle: BundleOption = "dgm",
    model: Annotated[Path | None, typer.Option(help="Weights to evaluate; default: those that ship.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the report.")] = Path("evaluated"),
    fold: Annotated[str | None, typer.Option(help="Test fold of the manifest, or all.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Evaluate trained weights on a data set: metrics with intervals, and a report with pictures.

    Keys of the bundle's configuration follow after --, as in: monai-dgm evaluate DATA -- --batch_size 8
    """
    from monai_dgm.engines.weights import find_weights

    configs = bundle_configs(bundle, ["train", "evaluate"])
    weights = model or find_weights(Path(configs[0]).parent.parent / "models")
    dataset, words = dataset_and_overrides(dataset, overrides)
    settings = {"dataset_dir": dataset, "model_path": weights, "output_dir": output, "fold": fold}
    status = run_bundle(bundle_words("evaluating", configs, settings, words), quiet=as_json)
    if status == 0 and as_json:
        file = output / "report" / "metrics.json"
        try:
            print_json(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise InputError(f"{file}: expected the metrics of the evaluation ({error})") from error
    return status
