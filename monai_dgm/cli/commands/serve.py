"""``monai-dgm serve``: the label app for MONAI Label."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from monai_dgm.cli.installation import version_of
from monai_dgm.errors import InputError
from monai_dgm.utils.bundle_files import app_folder


def serve(
    studies: Annotated[
        str, typer.Argument(metavar="[STUDIES]", help="Folder, or DICOMweb address; default: examples.")
    ] = "",
    port: Annotated[int, typer.Option(min=1, max=65535, help="On this machine's loopback address.")] = 8000,
    conf: Annotated[
        list[str] | None, typer.Option("--conf", metavar="NAME=VALUE", help="Setting of the app: device=cuda:0.")
    ] = None,
) -> int:
    """Start the label app: the server for the OHIF viewer and for 3D Slicer. It needs the extra label.

    It runs in place of this command until it is stopped.
    """
    if version_of("monailabel") is None:
        raise InputError("expected MONAI Label, it is not installed: pip install 'monai-dgm[label]'")
    words = [sys.executable, str(app_folder() / "start.py"), "--port", str(port)]
    words += ["--studies", studies] if studies else []
    for setting in conf or []:
        name, equals, value = setting.partition("=")
        if not equals:
            raise typer.BadParameter(f"expected NAME=VALUE, got {setting!r}", param_hint="--conf")
        words += ["--conf", name, value]
    os.execv(sys.executable, words)
