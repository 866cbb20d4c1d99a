"""``monai-dgm export``: a trained network as one file for another runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from monai_dgm.cli.models import BundlesOption, weights_paths
from monai_dgm.cli.output import VerboseOption, start_logging
from monai_dgm.errors import InputError, UsageError
from monai_dgm.utils.bundle_files import BUNDLES

FORMATS = {"onnx": "onnxruntime", "openvino": "openvino"}
TORCHSCRIPT = "torchscript"


def export(
    name: Annotated[str, typer.Argument(metavar="MODEL", help=f"One of {', '.join(BUNDLES)}.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the file.")] = Path("exported"),
    file_format: Annotated[
        str, typer.Option("--format", help=f"{', '.join(FORMATS)}: pixels in, preparation inside; {TORCHSCRIPT}.")
    ] = "onnx",
    weights: Annotated[Path | None, typer.Option(help="Weights to export instead of the bundle's.")] = None,
    bundles: BundlesOption = None,
    verbose: VerboseOption = False,
) -> int:
    """Write a trained network for another runtime: ONNX, OpenVINO or TorchScript.

    ONNX and OpenVINO files take the pixels of a radiograph: resizing and scaling are inside. A TorchScript file takes
    prepared images, as the bundle's network does.
    """
    start_logging(verbose)
    if name not in BUNDLES:
        raise UsageError(f"model: expected one of {', '.join(BUNDLES)}, got {name!r}")
    if file_format not in (*FORMATS, TORCHSCRIPT):
        raise UsageError(f"format: expected one of {', '.join((*FORMATS, TORCHSCRIPT))}, got {file_format!r}")
    path = str(weights) if weights is not None else weights_paths(bundles)[name]
    if file_format == TORCHSCRIPT:
        file = _write_torchscript(name, path, output)
    else:
        from monai_dgm.engines.runtimes.export import KINDS, export_model
        from monai_dgm.engines.runtimes.installed import choose_runtime

        choose_runtime(FORMATS[file_format])  # one line where it is not installed
        kind = next(known for known in KINDS if known == name)
        file = export_model(path, output, FORMATS[file_format], kind)
    typer.echo(file)
    return 0


def _write_torchscript(name: str, weights: str, output: Path) -> Path:
    """The network of the model, scripted, in evaluation mode."""
    from monai_dgm.cli.models import load_models
    from monai_dgm.engines.weights import model_channels, read_model_settings, written_aside

    sees_residue = name in ("detector", "classifier") and "residue" in model_channels(read_model_settings(weights))
    needed = (name, "decomposer") if sees_residue else (name,)
    pipeline = load_models(needed, device="cpu", replaced={name: Path(weights)})
    import torch

    model = getattr(pipeline, name)
    if model is None:
        raise InputError(f"{weights}: expected the weights of a {name}, they cannot be loaded")
    network = getattr(model, "network", model)
    target = output / f"{name}.ts"
    with written_aside(target) as partial:
        torch.jit.script(network).save(str(partial))
    return target
