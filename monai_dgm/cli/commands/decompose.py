"""``monai-dgm decompose``: normal image, residue, saliency and opacity boxes of radiographs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

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
    weights_paths,
)
from monai_dgm.cli.output import JsonOption, VerboseOption, print_json, print_pairs, print_table, start_logging

MOST_DETAILED = 3  # radiographs that are described each; more are listed in a table


def decompose(
    source: SourceArgument,
    output: OutputOption = Path("decomposed"),
    outputs: Annotated[str, typer.Option(help="Files for each radiograph: all, maps, or scores (none).")] = "all",
    panel: Annotated[bool, typer.Option(help="Draw panel.png, too.")] = True,
    threshold: Annotated[str, typer.Option(help="Of the saliency: otsu, li, quantile, or a number.")] = "otsu",
    model: Annotated[Path | None, typer.Option(help="Weights of a decomposer to use instead of the bundle's.")] = None,
    bundles: BundlesOption = None,
    device: DeviceOption = None,
    runtime: RuntimeOption = "auto",
    batch_size: BatchOption = 4,
    workers: WorkersOption = 0,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> int:
    """Take radiographs apart: normal image, residue, saliency, opacity boxes and residue burden.

    Writes OUTPUT/IMAGE/ for each radiograph and OUTPUT/scores.json.
    """
    start_logging(verbose)
    names = ("decomposer", "lungs", "detector")
    pipeline = load_models(names, bundles, device, {"decomposer": model}, threshold=_number_or_rule(threshold))
    from monai_dgm.engines.weights import read_model_settings
    from monai_dgm.handlers.decomposition_saver import BURDEN_THRESHOLD, DecompositionSaver

    settings = read_model_settings(model or weights_paths(bundles)["decomposer"])
    burden_threshold = settings.get("burden_threshold", BURDEN_THRESHOLD)
    options = {"outputs": outputs, "panels": panel, "burden_threshold": burden_threshold}
    saver = run_over_files(DecompositionSaver, source, output, pipeline, batch_size, workers, runtime, **options)
    if as_json:
        print_json(saver.report)
    else:
        _print_summary(saver.report, saver.files.results_file)
    return 1 if saver.report["failed"] else 0


def _number_or_rule(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _print_summary(report: Mapping[str, Any], results_file: Path) -> None:
    images = report["images"]
    if len(images) <= MOST_DETAILED:
        for image in images:
            print_pairs(image["file"], _described(image))
    else:
        head = ("file", "p(abnormal)", "salient share of lungs", "boxes", "chest")
        print_table(head, ((image["file"], *_row(image)) for image in images))
    if report["failed"]:
        typer.secho(f"{len(report['failed'])} could not be used", fg="red")
    typer.echo(f"{len(images)} decomposed, in {results_file.parent}; all values in {results_file.name}")
    typer.secho("Research software; not a medical device. Normal images are synthetic.", dim=True)


def _row(image: Mapping[str, Any]) -> tuple[str, ...]:
    probability, boxes = image["abnormality_probability"], image["opacity_boxes"]
    share = image["residue_burden"]["total"]["salient_share"]
    chest = {True: "yes", False: "no", None: "not checked"}[image["looks_like_chest"]]
    return (
        "none" if probability is None else f"{probability:.2f}",
        "none" if share is None else f"{100 * share:.0f} %",
        "no detector" if boxes is None else str(len(boxes)),
        chest,
    )


def _described(image: Mapping[str, Any]) -> dict[str, str]:
    probability, share, boxes, chest = _row(image)
    pairs = {"p(abnormal)": probability, "salient share of lungs": share}
    zones = {name: zone["salient_share"] for name, zone in image["residue_burden"]["zones"].items()}
    most = [f"{name.replace('_', ' ')} {100 * part:.0f} %" for name, part in zones.items() if part]
    if most:
        pairs["salient in"] = ", ".join(most)
    pairs["opacity boxes"] = boxes
    for number, found in enumerate(image["opacity_boxes"] or [], 1):
        pairs[f"  box {number}"] = f"score {found['score']:.2f}, {[round(edge) for edge in found['box']]} pixels"
    pairs["frontal chest"] = chest
    if image["remarks"]:
        pairs["remarks"] = "; ".join(image["remarks"])
    return pairs
