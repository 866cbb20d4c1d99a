"""Runs of the bundles' own configurations, for the subcommands that train and evaluate."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from monai_dgm.errors import UsageError
from monai_dgm.utils.bundle_files import BUNDLES, bundle_folder

__all__ = [
    "BundleOption",
    "DatasetArgument",
    "OverridesArgument",
    "bundle_configs",
    "bundle_words",
    "dataset_and_overrides",
    "run_bundle",
]

DatasetArgument = Annotated[
    str | None,
    typer.Argument(metavar="[DATASET]", help="Folder with a manifest.csv, or the RSNA challenge; default: the sample."),
]
BundleOption = Annotated[
    str, typer.Option("--bundle", help=f"One of {', '.join(sorted(BUNDLES.values()))}, or the folder of a bundle.")
]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[-- --KEY VALUE ...]", help="Keys of the bundle's configuration, as MONAI takes them."),
]


def bundle_configs(bundle: str, names: Sequence[str]) -> list[str]:
    """Paths of configurations of a bundle.

    Args:
        bundle: its name, or its folder.
        names: such as "train", or the path of a configuration.

    Raises:
        UsageError: a file that is not there.
    """
    folder = Path(bundle) if (Path(bundle) / "configs").is_dir() else Path(bundle_folder(bundle))
    paths = [Path(name) if name.endswith(".json") else folder / "configs" / f"{name}.json" for name in names]
    for path in paths:
        if not path.is_file():
            raise UsageError(f"{path}: expected a configuration, there is none")
    return [str(path) for path in paths]


def dataset_and_overrides(dataset: str | None, overrides: Sequence[str] | None) -> tuple[str | None, list[str]]:
    """The two arguments apart: where no data set is given, the first word after ``--`` came in its place."""
    words = list(overrides or [])
    return (None, [dataset, *words]) if dataset is not None and dataset.startswith("--") else (dataset, words)


def bundle_words(
    run_id: str, configs: Sequence[str], settings: Mapping[str, Any], overrides: Sequence[str], processes: int = 1
) -> list[str]:
    """The command that runs a bundle: by ``python -m monai.bundle``, in several processes by torchrun.

    Args:
        run_id: such as "training".
        configs: paths; later ones replace keys of earlier ones.
        settings: keys and values; None leaves a key as it is.
        overrides: further words, as the user gave them.
        processes: on this machine.
    """
    words = [sys.executable]
    if processes > 1:
        words += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    words += ["-m", "monai.bundle", "run", run_id, "--config_file"]
    words.append(configs[0] if len(configs) == 1 else str(list(configs)))
    for key, value in settings.items():
        words += [] if value is None else [f"--{key}", str(value)]
    return [*words, *overrides]


def run_bundle(words: Sequence[str], quiet: bool = False) -> int:
    """Run the command and return its exit status.

    Args:
        words: of :func:`bundle_words`.
        quiet: whether its standard output goes to stderr, so that stdout holds the results alone.
    """
    # MONAI warns of every configuration file that it runs what is in it; these come with the package
    environment = {"PYTHONWARNINGS": "ignore", **os.environ}
    return subprocess.run(words, env=environment, stdout=sys.stderr if quiet else None, check=False).returncode
