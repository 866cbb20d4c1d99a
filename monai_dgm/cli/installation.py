"""What is installed: packages, runtimes, weights, label app. Only :func:`devices` imports torch."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import shutil
from pathlib import Path
from typing import Any

from monai_dgm import __version__
from monai_dgm.data.fingerprints import hash_file
from monai_dgm.engines.runtimes.installed import EXACT, RUNTIMES
from monai_dgm.errors import InputError
from monai_dgm.utils.bundle_files import BUNDLES, app_folder, bundles_folder, in_wheel

__all__ = ["describe_installation", "devices", "problems_of"]

DISTRIBUTION = "monai-dgm"
# extra of this package -> what it is for
EXTRAS = {
    "archive": "many radiographs, on one machine or a Ray cluster",
    "dicom": "results as DICOM SR and SEG; archives over DICOMweb",
    "gdcm": "DICOM in lossless JPEG, and in JPEG of 12 bits",
    "onnx": "export to ONNX, and running it",
    "openvino": "export to OpenVINO, and running it",
    "label": "the label app",
    "mlflow": "--tracking mlflow",
}


def describe_installation() -> dict[str, Any]:
    """Everything as JSON values: versions, packages, runtimes, extras, weights and the label app."""
    required, extras = requirements()
    missing = [name for name in required if version_of(name) is None]
    return {
        "version": __version__,
        "installed_as": "wheel" if in_wheel() else "repository",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version_of(name) for name in ("torch", "monai", "numpy", "pydicom")},
        "missing_packages": missing,
        "runtimes": {
            name: version_of(RUNTIMES[name][0]) if all(map(version_of, RUNTIMES[name])) else None for name in EXACT
        },
        "extras": {
            name: {"for": purpose, "missing": [one for one in extras[name] if version_of(one) is None]}
            for name, purpose in EXTRAS.items()
            if name in extras
        },
        "weights": {name: _describe_weights(bundle) for name, bundle in BUNDLES.items()},
        "label_app": _describe_label_app(),
    }


def problems_of(installation: dict[str, Any]) -> list[str]:
    """Required packages or weights that are missing or damaged, each with advice; empty where all is well."""
    found = []
    if installation["missing_packages"]:
        found.append(f"packages are missing: pip install {' '.join(installation['missing_packages'])}")
    for name, weights in installation["weights"].items():
        if weights["state"] != "sound":
            found.append(f"weights of the {name}: {weights['state']}; install the package anew")
    return found


def version_of(distribution: str) -> str | None:
    """Version of an installed distribution; None where there is none."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def devices() -> list[str]:
    """The devices that networks can run on, by name."""
    import torch

    gpus = [f"cuda:{i}, {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    return [f"cpu, {torch.get_num_threads()} threads", *gpus]


def requirements() -> tuple[list[str], dict[str, list[str]]]:
    """Distributions that are required, and those of each extra, by the metadata; none where it is not installed."""
    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return [], {}
    required: list[str] = []
    extras: dict[str, list[str]] = {}
    for line in lines:
        name = re.split(r"[\s\[<>=!~;(]", line, maxsplit=1)[0]
        extra = re.search(r"extra\s*==\s*[\"']([^\"']+)[\"']", line)
        if name != DISTRIBUTION:
            (extras.setdefault(extra[1], []) if extra else required).append(name)
    return required, extras


def _describe_weights(bundle: str) -> dict[str, Any]:
    """File, size, SHA-256 and licence of the shipped weights, and whether they are as they were made."""
    try:
        folder = bundles_folder() / bundle / "models" / "shipped"
    except InputError:
        return {"bundle": bundle, "state": "missing"}
    file = folder / "model.safetensors"
    if not file.is_file():
        return {"bundle": bundle, "state": "missing"}
    digest = hash_file(file)
    try:
        settings = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        shipped = settings["shipped"]
        sound = shipped["sha256"] == digest
    except (OSError, ValueError, KeyError, TypeError):
        return {"bundle": bundle, "sha256": digest, "state": "without readable settings"}
    return {
        "bundle": bundle,
        "version": shipped.get("version"),
        "sha256": digest,
        "bytes": file.stat().st_size,
        "image_size": settings.get("image_size"),
        "licence": shipped.get("licence"),
        "state": "sound" if sound else "damaged (another SHA-256 than in model.json)",
    }


def _describe_label_app() -> dict[str, Any]:
    try:
        folder: Path | None = app_folder()
    except InputError:
        folder = None
    there = folder is not None and (folder / "main.py").is_file()
    viewer = folder is not None and (folder / ".ohif" / "dist").is_dir()
    return {
        "files": there,
        "monailabel": version_of("monailabel"),
        "ohif_viewer": viewer,
        "orthanc": shutil.which("Orthanc") is not None,
    }
