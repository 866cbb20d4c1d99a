"""Quantisation of a decomposer to 8-bit integers for OpenVINO, after its training, by NNCF.

    python -m monai_dgm.engines.runtimes.quantise --weights MODEL --dataset_dir DATA

The quantised graph is kept in the cache of exports, for the runtime "openvino-int8". Its results differ from those of
the trained network; docs/performance.md says by how much for the shipped weights.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.sources import load_splits
from monai_dgm.engines.residues.frozen_decomposer import load_decomposer
from monai_dgm.engines.runtimes.cache import cache_folder, cached_export, kept_export
from monai_dgm.engines.runtimes.installed import INT8, import_runtime, openvino_core
from monai_dgm.engines.weights import read_model_settings
from monai_dgm.errors import InputError
from monai_dgm.utils.command import exit_status
from monai_dgm.utils.optional_package import import_package

__all__ = ["quantise_decomposer"]

LEAST_IMAGES = 32


def quantise_decomposer(
    weights: str | os.PathLike[str],
    images: Sequence[NDArray[np.float32]],
    folder: str | os.PathLike[str] | None = None,
) -> Path:
    """Quantise the convolutions of a decomposer, and keep the graph in the cache of exports.

    Args:
        weights: of a residue system, with its settings in the JSON file next to them.
        images: prepared radiographs (1, S, S) in [-1, 1] that give the ranges of the features: of the training, never
            those that the result is judged by.
        folder: of the cache; None for :func:`monai_dgm.engines.runtimes.cache.cache_folder`.

    Returns:
        the file of the quantised graph.

    Raises:
        InputError: too few images, NNCF or OpenVINO is not installed, or weights that cannot be used.
    """
    if len(images) < LEAST_IMAGES:
        raise InputError(f"images: expected at least {LEAST_IMAGES} radiographs to calibrate with, got {len(images)}")
    openvino, nncf = import_runtime("openvino"), _import_nncf()
    network = load_decomposer(weights)

    def make(target: Path) -> None:
        model = openvino_core().read_model(cached_export("decomposer", weights, "openvino", network, folder))
        calibration = nncf.Dataset([np.asarray(image, dtype=np.float32)[None] for image in images])
        quantised = nncf.quantize(
            model, calibration, preset=nncf.QuantizationPreset.MIXED, subset_size=len(images), fast_bias_correction=True
        )
        openvino.save_model(quantised, target, compress_to_fp16=False)

    return kept_export("decomposer", weights, INT8, "graph.xml", network, make, folder)


def _import_nncf() -> Any:
    os.environ.setdefault("NNCF_CI", "1")  # else it tells its makers of its use
    nncf = import_package("nncf", "quantisation", "int8")
    nncf.set_log_level(logging.ERROR)
    return nncf


def quantise(arguments: argparse.Namespace) -> None:
    """Quantise a decomposer with images of the training list of a data set."""
    size, cache_dir = int(read_model_settings(arguments.weights)["image_size"]), Path(arguments.cache_dir)
    training = load_splits(arguments.dataset_dir, cache_dir / "sample", arguments.fold).training
    number = min(arguments.images, len(training))
    chosen = [training[i] for i in np.linspace(0, len(training) - 1, number).astype(int)]
    dataset = RadiographDataset(chosen, size, cache_dir)
    path = quantise_decomposer(arguments.weights, list(dataset.images_as_tensor(range(number)).numpy()))
    print(f"quantised with {number} images: {path.parent.name} in {cache_folder()}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="monai_dgm.engines.runtimes.quantise", description=__doc__)
    parser.add_argument("--weights", required=True, help="of the decomposer")
    parser.add_argument("--dataset_dir", required=True, help="folder with a manifest.csv, or of RSNA")
    parser.add_argument("--images", type=int, default=128, help="number of images, spread over the training list")
    parser.add_argument("--fold", type=int, default=0, help="the test fold of the decomposer's training")
    parser.add_argument("--cache_dir", default=".cache", help="of decoded images")
    return exit_status(quantise, parser.parse_args(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
