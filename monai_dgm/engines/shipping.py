"""Weights as they ship with a bundle: half precision, one folder with settings, origin and checksum, ready for use.

python -m monai_dgm.engines.shipping RUN/models/model.pt bundles/dgm/models/shipped --manifest DATA/manifest.csv
    --command "python -m monai.bundle run training ..." --licence "CC BY-NC-SA 4.0"
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as serialise
from torch import Tensor

from monai_dgm import __version__
from monai_dgm.data.baseline_file import BASELINES_FILE
from monai_dgm.data.fingerprints import hash_file
from monai_dgm.engines.lungs.chest_check import CHEST_FILE
from monai_dgm.engines.lungs.upright import UPRIGHT_FILE
from monai_dgm.engines.weights import read_state_dict, settings_from_json, written_aside
from monai_dgm.errors import InputError
from monai_dgm.utils.command import exit_status

__all__ = ["MAX_BYTES", "half_precision", "ship_weights"]

MAX_BYTES = 25_000_000


def half_precision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Floating-point tensors in float16, others as they are.

    Raises:
        InputError: a value that float16 cannot hold, or one that is not finite.
    """
    halved = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    for name, tensor in halved.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise InputError(f"{name}: expected finite values within +-65504, as float16 holds them")
    return halved


def ship_weights(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    manifest: str | os.PathLike[str],
    command: str,
    licence: str,
    /,
    **settings: Any,
) -> dict[str, Any]:
    """Write ``target/model.safetensors`` and ``model.json``, and ``chest.json`` and ``baselines.npz`` where they are.

    Args:
        source: weights of a training, with the settings next to them.
        target: folder, made when missing.
        manifest: of the data that they were trained on; its SHA-256 is written into the settings.
        command: that trained them, as a user would give it.
        licence: of the weights, which follows the data's.
        settings: in addition to the training's own.

    Returns:
        what model.json holds: the training's settings, ``settings``, and under "shipped" SHA-256, bytes, command,
        manifest's SHA-256, licence and version.

    Raises:
        InputError: no such files, damaged ones, weights that float16 cannot hold, or more than ``MAX_BYTES``; settings
            that JSON cannot hold; or a folder that cannot be written.
    """
    folder, origin = Path(target), Path(source)
    for path in (origin, origin.with_suffix(".json"), Path(manifest)):
        if not (path.is_file() and os.access(path, os.R_OK)):
            raise InputError(f"{path}: expected a file that can be read, there is none")
    merged = _merged(origin.with_suffix(".json"), settings)
    halved = half_precision(read_state_dict(origin))
    content = serialise({name: tensor.contiguous() for name, tensor in halved.items()})  # some are channels last
    if len(content) > MAX_BYTES:
        raise InputError(f"{origin}: expected at most {MAX_BYTES} bytes in half precision, got more")
    weights = folder / "model.safetensors"
    with written_aside(weights) as partial:
        partial.write_bytes(content)
    shipped = {
        "sha256": hash_file(weights),
        "bytes": weights.stat().st_size,
        "command": command,
        "manifest_sha256": hash_file(manifest),
        "licence": licence,
        "version": f"monai-dgm {__version__}",
    }
    values = {**merged, "shipped": shipped}
    with written_aside(folder / "model.json") as partial:
        partial.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    for name in (BASELINES_FILE, UPRIGHT_FILE, Path(UPRIGHT_FILE).with_suffix(".json").name, CHEST_FILE):
        if (beside := origin.with_name(name)).is_file():
            with written_aside(folder / name) as partial:
                shutil.copyfile(beside, partial)
    return values


def _merged(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a file, with others on top; in the end JSON must hold them."""
    try:
        values = {**settings_from_json(path.read_text(encoding="utf-8")), **settings}
        json.dumps(values, allow_nan=False)
        return values
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: expected settings that JSON can hold, got: {error}") from error


def run(arguments: argparse.Namespace) -> None:
    """Ship the weights and print what was written about them.

    Raises:
        InputError: settings that are not a JSON object, or as :func:`ship_weights`.
    """
    try:
        settings = settings_from_json(arguments.settings)
    except ValueError as error:
        raise InputError(f"settings: expected a JSON object, got: {error}") from error
    given = (arguments.source, arguments.target, arguments.manifest, arguments.command, arguments.licence)
    print(json.dumps(ship_weights(*given, **settings)["shipped"], indent=1))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of :func:`ship_weights`; errors of the user are one line."""
    parser = argparse.ArgumentParser(prog="python -m monai_dgm.engines.shipping", description=__doc__)
    parser.add_argument("source", help="model.pt of a training")
    parser.add_argument("target", help="folder, such as bundles/dgm/models/shipped")
    for name in ("manifest", "command", "licence"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--settings", default="{}", help="further settings, as JSON")
    return exit_status(run, parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
