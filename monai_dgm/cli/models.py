"""Pipelines of the weights that ship, or of others, for the subcommands that infer."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monai_dgm.errors import UsageError
from monai_dgm.utils.bundle_files import BUNDLES, bundles_folder

if TYPE_CHECKING:
    from monai_dgm.engines.pipeline import RadiographPipeline
    from monai_dgm.handlers.result_saver import ResultSaver

__all__ = [
    "BatchOption",
    "BundlesOption",
    "DeviceOption",
    "OutputOption",
    "RuntimeOption",
    "SourceArgument",
    "WorkersOption",
    "load_models",
    "run_over_files",
    "weights_paths",
]

READ_AHEAD = 4  # batches that wait to be run
SourceArgument = Annotated[
    Path, typer.Argument(metavar="FILE_OR_FOLDER", help="Radiograph, or folder of them: DICOM, PNG, JPEG, NIfTI.")
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Folder of the results.")]
BundlesOption = Annotated[
    Path | None,
    typer.Option("--bundles", help="Folder of the bundles whose weights are used; default: those that ship."),
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="Such as cpu or cuda:0; default: a GPU if there is one.")
]
BatchOption = Annotated[int, typer.Option("--batch-size", min=1, help="Radiographs at a time.")]
WorkersOption = Annotated[
    int, typer.Option("--workers", min=0, help="Processes that read files; 0: none but this one.")
]
RuntimeOption = Annotated[
    str, typer.Option("--runtime", help="auto, torch, openvino or onnxruntime; auto: the fastest that is installed.")
]


def weights_paths(bundles: Path | None = None) -> dict[str, str]:
    """Files of the weights by the name of the model, whether they exist or not.

    Args:
        bundles: folder of the bundles; those that came with this package where None.
    """
    from monai_dgm.engines.weights import find_weights

    folder = bundles or bundles_folder()
    if not folder.is_dir():
        raise UsageError(f"bundles: expected a folder of bundles, got {folder}")
    return {name: find_weights(folder / bundle / "models") for name, bundle in BUNDLES.items()}


def load_models(
    names: Sequence[str],
    bundles: Path | None = None,
    device: str | None = None,
    replaced: Mapping[str, Path | None] | None = None,
    **options: Any,
) -> RadiographPipeline:
    """The pipeline of some models.

    Args:
        names: of :data:`monai_dgm.utils.bundle_files.BUNDLES`.
        bundles, device: as the options say.
        replaced: weights to use instead of a bundle's.
        options: of :func:`monai_dgm.engines.pipeline_loading.load_pipeline`.

    Raises:
        InputError: weights that are not there or cannot be used, or an unknown device.
    """
    from monai_dgm.utils.light_import import import_monai_lightly

    import_monai_lightly()
    import torch

    from monai_dgm.engines.pipeline_loading import load_pipeline

    paths = {name: path for name, path in weights_paths(bundles).items() if name in names}
    paths |= {name: str(path) for name, path in (replaced or {}).items() if path is not None}
    chosen = device or ("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        target = torch.device(chosen)
    except RuntimeError:
        raise UsageError(f"device: expected one such as cpu or cuda:0, got {chosen!r}") from None
    files: dict[str, Any] = {f"{name}_path": path for name, path in paths.items()}
    return load_pipeline(**files, device=target, **options)


def run_over_files(
    saver: type[ResultSaver],
    source: Path,
    output: Path,
    pipeline: RadiographPipeline,
    batch_size: int = 4,
    num_workers: int = 0,
    runtime: str = "auto",
    **options: Any,
) -> ResultSaver:
    """Read, prepare and run all files as the inference bundles do, and save the results.

    Args:
        saver: class of the handler that writes them.
        source: file or folder.
        output: folder of the results.
        pipeline: to run.
        batch_size, num_workers, runtime: as the options say.
        options: of ``saver``.

    Returns:
        the saver, with its report.

    Raises:
        InputError: no file that could be used, or a folder that cannot be written.
    """
    from monai.data import ThreadDataLoader

    from monai_dgm.engines.file_run import FileDataset, collate_files
    from monai_dgm.engines.runtimes.use import use_runtime
    from monai_dgm.transforms.load_radiograph import LoadRadiographd

    files = saver.list_files(source, output)
    use_runtime(pipeline, runtime, len(files.items))
    pictures = options.get("outputs", "all") == "all" and options.get("overlays", True)
    transform = LoadRadiographd("image", pipeline.sides, display=pictures)
    if "preprocessing" in inspect.signature(saver).parameters:
        options["preprocessing"] = transform
    writer = saver(files, pipeline, **options)
    dataset = FileDataset(files.items, transform)
    batches = ThreadDataLoader(
        dataset,
        buffer_size=READ_AHEAD,
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=collate_files,
    )
    writer.save_all(batches)
    return writer
