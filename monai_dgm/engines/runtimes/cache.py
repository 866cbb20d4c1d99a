"""Exported graphs, kept in a cache folder: made once for each file of weights and each version of the programs.

A folder has the graph and ``export.json``, which says what it was made from and the SHA-256 of each of its files. It is
written aside and renamed; what does not agree with its ``export.json`` is made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock
from torch import nn

from monai_dgm import __version__
from monai_dgm.data.fingerprints import hash_file
from monai_dgm.engines.files import describe_model
from monai_dgm.engines.lungs.upright import UPRIGHT_FILE
from monai_dgm.engines.runtimes.export import Kind, example_input, load_graph, write_graph
from monai_dgm.engines.runtimes.installed import runtime_version
from monai_dgm.engines.weights import first_line, read_model_settings
from monai_dgm.errors import InputError

__all__ = ["cache_folder", "cached_export", "kept_export"]

logger = logging.getLogger(__name__)

FORMAT = 2  # raise it when the graphs change: older exports are then not used
NOTE = "export.json"
VARIABLE = "MONAI_DGM_CACHE"


def cache_folder() -> Path:
    """Folder of the exports: ``exports`` in MONAI_DGM_CACHE, else in ``monai-dgm`` of the user's cache folder."""
    own = os.environ.get(VARIABLE)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "monai-dgm"
    return (Path(own) if own else base) / "exports"


def cached_export(
    kind: Kind,
    weights: str | os.PathLike[str],
    runtime: str,
    network: nn.Module,
    folder: str | os.PathLike[str] | None = None,
) -> Path:
    """The exported graph of a trained network, for prepared images; made where the cache does not have it.

    Args:
        kind: of the model.
        weights: the file of its weights.
        runtime: "openvino" or "onnxruntime".
        network: with these weights; of lungs, without its upright check.
        folder: of the cache; None for :func:`cache_folder`.

    Returns:
        the file ``graph.xml`` or ``graph.onnx``.

    Raises:
        InputError: weights that cannot be used, a network that the runtime cannot take, or a folder that cannot be
            written.
    """
    name = "graph.onnx" if runtime == "onnxruntime" else "graph.xml"

    def make(target: Path) -> None:
        example = example_input(weights, kind)
        axes = {"image": {0: "batch", **({2: "rows", 3: "cols"} if kind == "lungs" else {})}}
        write_graph(load_graph(kind, weights, network), (example,), target, axes)

    return kept_export(kind, weights, runtime, name, network, make, folder)


def kept_export(
    kind: Kind,
    weights: str | os.PathLike[str],
    runtime: str,
    name: str,
    network: nn.Module,
    make: Callable[[Path], None] | None,
    folder: str | os.PathLike[str] | None = None,
) -> Path:
    """A file ``name`` of the cache that ``make`` writes where it is missing or damaged; the rest as above.

    Args:
        make: writes the file at the path that it is given, and others beside it; None only looks for it.

    Raises:
        InputError: as above; and nothing there where ``make`` is None.
    """
    source = describe_source(kind, weights, runtime, network)
    key = hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()[:24]
    base = Path(folder) if folder is not None else cache_folder()
    target = base / f"{kind}-{runtime}-{key}"
    if is_sound(target, source):
        return target / name
    if make is None:
        raise InputError(f"{weights}: expected an export for {runtime} in {base}, there is none for this version")
    try:
        base.mkdir(parents=True, exist_ok=True)
        with FileLock(base / f"{target.name}.lock"):
            if not is_sound(target, source):  # another process may have made it while this one waited
                _make(target, source, name, make)
    except InputError:
        raise
    except Exception as error:  # a folder that cannot be written, or whatever an exporter raises
        raise InputError(f"{weights}: expected a network that {runtime} can take, got: {first_line(error)}") from error
    return target / name


def describe_source(kind: Kind, weights: str | os.PathLike[str], runtime: str, network: nn.Module) -> dict[str, Any]:
    """What an export depends on, as JSON can hold it: weights, settings, layers and versions."""
    source: dict[str, Any] = {
        "format": FORMAT,
        "version": __version__,
        "runtime": runtime,
        "packages": runtime_version(runtime),
        "kind": kind,
        "weights_sha256": describe_model(weights)["sha256"],
        "settings": read_model_settings(weights),
        "layers_sha256": hashlib.sha256(repr(network).encode()).hexdigest(),
    }
    upright = Path(weights).with_name(UPRIGHT_FILE)
    if kind == "lungs" and upright.is_file():
        source["upright_sha256"] = hash_file(upright)
    return source


def is_sound(folder: Path, source: dict[str, Any]) -> bool:
    """Whether a folder holds a complete export of this source whose files are as they were written."""
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        files: dict[str, str] = note["files"]
        sound = note["source"] == source and all(hash_file(folder / name) == sha for name, sha in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound and folder.exists():
        logger.warning("an export in %s is damaged or incomplete and is made again", folder.name)
    return sound and bool(files)


def _make(target: Path, source: dict[str, Any], name: str, make: Callable[[Path], None]) -> None:
    logger.info("exporting the %s for %s, once", source["kind"], source["runtime"])
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
    try:
        make(partial / name)
        files = {path.name: hash_file(path) for path in sorted(partial.iterdir())}
        note = json.dumps({"source": source, "files": files}, indent=1) + "\n"
        (partial / NOTE).write_text(note, encoding="utf-8")
        for path in partial.iterdir():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        if target.exists():
            shutil.rmtree(target)
        os.rename(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
