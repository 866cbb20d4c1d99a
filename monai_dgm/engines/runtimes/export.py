"""Export of trained networks for other runtimes.

One trained network is one graph. ``export_model`` writes it for others: raw pixels in, results out, with the arithmetic
of preparation and saliency inside, so that an exported model says what the trained one says. The pipeline runs graphs
that take prepared images, since one preparation serves all its models; :mod:`monai_dgm.engines.runtimes.cache` keeps
those.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from monai_dgm.engines.files import describe_model
from monai_dgm.engines.lungs.segmentor import load_lung_segmentor
from monai_dgm.engines.residues.frozen_decomposer import load_decomposer
from monai_dgm.engines.runtimes.graphs import ClassifierGraph, DecomposerGraph, DetectorGraph, LungsGraph
from monai_dgm.engines.runtimes.installed import import_runtime, openvino_core, runtime_version
from monai_dgm.engines.runtimes.pixel_graph import PixelGraph
from monai_dgm.engines.weights import load_weights, model_channels, read_model_settings, written_aside
from monai_dgm.errors import InputError
from monai_dgm.networks.lung_segmentation import ARCHITECTURES

__all__ = ["KINDS", "Kind", "export_model", "kind_of", "load_graph", "write_graph"]

logger = logging.getLogger(__name__)

Kind = Literal["decomposer", "lungs", "detector", "classifier"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def kind_of(settings: dict[str, Any]) -> Kind:
    """Which kind of model the settings beside weights describe."""
    if "fpn_channels" in settings and "backbone" in settings:
        return "detector"
    if "task" in settings and "architecture" in settings:
        return "classifier"
    return "lungs" if settings.get("architecture") in ARCHITECTURES else "decomposer"


def load_graph(kind: Kind, weights: str | os.PathLike[str], network: nn.Module | None = None) -> nn.Module:
    """The module that is exported for a trained network, in evaluation mode on the CPU, for prepared images.

    Args:
        kind: of the model.
        weights: ``.pt`` or ``.safetensors``, with its settings in the JSON file next to it.
        network: with these weights, where they are loaded already.

    Raises:
        InputError: no such weights, or those of another kind of network.
    """
    if kind == "lungs":
        segmentor = load_lung_segmentor(weights, network=network)
        graph: nn.Module = LungsGraph(segmentor.network, segmentor.size, segmentor.upright)
    elif kind == "detector":
        from monai_dgm.networks.detector import build_detector  # here: it imports MONAI's detection

        detector: Any = network or load_weights(build_detector(read_model_settings(weights)), weights)
        graph = DetectorGraph(detector)
    elif kind == "classifier":
        from monai_dgm.engines.classification.classifier import load_classifier

        graph = ClassifierGraph(network or load_classifier(weights))
    else:
        graph = DecomposerGraph(network or load_decomposer(weights))
    return graph.cpu().eval().requires_grad_(False)


def example_input(weights: str | os.PathLike[str], kind: Kind) -> Tensor:
    """Images of the side and the channels of a network, (2, C, S, S): two, since an export takes 1 for a constant."""
    settings = read_model_settings(weights)
    channels = len(model_channels(settings)) if kind in ("detector", "classifier") else 1
    size = int(settings["image_size"])
    return torch.linspace(-1, 1, 2 * channels * size * size).reshape(2, channels, size, size)


def write_graph(graph: nn.Module, example: tuple[Tensor, ...], target: Path, axes: dict[str, dict[int, str]]) -> None:
    """Export a module whose attributes ``inputs`` and ``outputs`` name what it takes and gives.

    Args:
        graph: in evaluation mode.
        example: its inputs.
        target: ``.onnx`` for ONNX Runtime, ``.xml`` for OpenVINO, which writes a ``.bin`` beside it.
        axes: for each input the axes of any length, with their names.
    """
    inputs: Any = graph.inputs
    outputs: Any = graph.outputs
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the tracers, about constants that are meant to be constant
        if target.suffix == ".onnx":
            _write_onnx(graph, example, target, inputs, outputs, axes)
            return
        # by ONNX, and not by OpenVINO's own converter for PyTorch: that one is slower, and tells its makers of its use
        openvino = import_runtime("openvino")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "graph.onnx"
            _write_onnx(graph, example, file, inputs, outputs, axes)
            openvino.save_model(openvino_core().read_model(file), target, compress_to_fp16=False)


def _write_onnx(
    graph: nn.Module,
    example: tuple[Tensor, ...],
    target: Path,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    axes: dict[str, dict[int, str]],
) -> None:
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        options: dict[str, Any] = {"input_names": list(inputs), "output_names": list(outputs), "opset_version": 17}
        torch.onnx.export(graph, example, target, dynamo=False, dynamic_axes=axes, **options)
    finally:
        logging.getLogger("torch.onnx").setLevel(level)


def export_model(
    weights: str | os.PathLike[str],
    output: str | os.PathLike[str],
    runtime: str = "openvino",
    kind: Kind | None = None,
    percentiles: tuple[float, float] = (0.5, 99.5),
) -> Path:
    """Write a trained network as one file that takes the pixels of a radiograph, for ONNX Runtime or OpenVINO.

    The graph takes pixels for square. It resizes, centres and scales them as
    :func:`monai_dgm.transforms.preparation.prepare` does (fit "pad"), runs the network, and computes what follows as
    far as it is arithmetic: see :class:`monai_dgm.engines.runtimes.pixel_graph.PixelGraph` for inputs and outputs.
    Connected components and non-maximum suppression are not in it.

    Args:
        weights: ``.pt`` or ``.safetensors``, with its settings in the JSON file next to it.
        output: a folder, made when missing; the file is ``<kind>.onnx``, or ``<kind>.xml`` with ``<kind>.bin``.
        runtime: "onnxruntime" or "openvino".
        kind: of the model; None for what the settings say.
        percentiles: of the intensities that become -1 and 1.

    Returns:
        the file, ``.onnx`` or ``.xml``.

    Raises:
        InputError: a runtime that is no other than PyTorch or is not installed, weights that cannot be used, a model
            that also takes residues, or a folder that cannot be written.
    """
    if runtime not in ("onnxruntime", "openvino"):
        raise InputError(f"runtime: expected onnxruntime or openvino to export for, got {runtime!r}")
    settings = read_model_settings(weights)
    found = kind or kind_of(settings)
    if found in ("detector", "classifier") and model_channels(settings) != ["image"]:
        raise InputError(f"{weights}: expected a {found} that takes the image alone, this one takes residues too")
    size = int(settings["image_size"])
    graph = PixelGraph(load_graph(found, weights), size, percentiles, found == "decomposer").eval()
    target = Path(output) / (f"{found}.onnx" if runtime == "onnxruntime" else f"{found}.xml")
    example = (torch.linspace(0, 255, 300 * 250).reshape(300, 250).sin(), torch.tensor([0.0, 0.0, size, size]))
    axes = {"pixels": {0: "rows", 1: "cols"}}
    describe_model(weights)  # one line where there is no such file
    write_exported(graph, example[: len(graph.inputs)], target, axes)
    logger.info("%s exported for %s to %s", found, runtime_version(runtime), target)
    return target


def write_exported(
    graph: nn.Module, example: tuple[Tensor, ...], target: Path, axes: dict[str, dict[int, str]]
) -> None:
    """:func:`write_graph`, aside and renamed; an OpenVINO model's ``.bin`` first, since its ``.xml`` needs it.

    Raises:
        InputError: a folder that cannot be written, or a network that the runtime cannot take.
    """
    with written_aside(target) as partial:
        write_graph(graph, example, partial, axes)
        constants = partial.with_suffix(".bin")
        if target.suffix == ".xml":
            os.replace(constants, target.with_suffix(".bin"))
