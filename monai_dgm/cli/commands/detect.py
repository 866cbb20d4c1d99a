"""``monai-dgm detect``: opacity boxes of radiographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from monai_dgm.cli.models import (
    BatchOption,
    BundlesOption,
    DeviceOption,
    OutputOption,
    RuntimeOption,
    SourceArgument,
    WorkersOption,
    load_models,
    run_over_files,
)
from monai_dgm.cli.output import JsonOption, VerboseOption, print_json, print_table, start_logging


def detect(
    source: SourceArgument,
    output: OutputOption = Path("detected"),
    score_threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Least score of a listed box; default: the detector's own.")
    ] = None,
    overlays: Annotated[bool, typer.Option(help="Draw the boxes on a picture of each radiograph.")] = True,
    model: Annotated[Path | None, typer.Option(help="Weights of a detector to use instead of the bundle's.")] = None,
    bundles: BundlesOption = None,
    device: DeviceOption = None,
    runtime: RuntimeOption = "auto",
    batch_size: BatchOption = 4,
    workers: WorkersOption = 0,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> int:
    """Find lung opacities: boxes with scores.

    Writes OUTPUT/detections.json and OUTPUT/IMAGE/opacities.png.
    """
    start_logging(verbose)
    pipeline = load_models(_models_for(model, bundles), bundles, device, {"detector": model})
    from monai_dgm.handlers.decomposition_saver import DetectionSaver

    options = {"score_threshold": score_threshold, "overlays": overlays}
    saver = run_over_files(DetectionSaver, source, output, pipeline, batch_size, workers, runtime, **options)
    report = saver.report
    if as_json:
        print_json(report)
    else:
        rows = (
            (i["file"], str(len(i["scores"])), f"{max(i['scores']):.2f}" if i["scores"] else "")
            for i in report["images"]
        )
        print_table(("file", "boxes", "highest score"), rows)
        if report["failed"]:
            typer.secho(f"{len(report['failed'])} could not be used", fg="red")
        typer.echo(f"{len(report['images'])} looked at, in {output}; boxes in {saver.files.results_file.name}")
        typer.secho("Research software; not a medical device.", dim=True)
    return 1 if report["failed"] else 0


def _models_for(model: Path | None, bundles: Path | None) -> tuple[str, ...]:
    """The detector, and the decomposer where it looks at residues."""
    from monai_dgm.cli.models import weights_paths
    from monai_dgm.engines.weights import model_channels, read_model_settings

    channels = model_channels(read_model_settings(model or weights_paths(bundles)["detector"]))
    return ("decomposer", "detector") if "residue" in channels else ("detector",)
