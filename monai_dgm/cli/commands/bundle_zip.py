"""``monai-dgm bundle-zip``: bundles as zip files, as MONAI's model zoo has them."""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path
from typing import Annotated

import typer

from monai_dgm.cli.output import JsonOption, print_json
from monai_dgm.errors import UsageError
from monai_dgm.utils.bundle_files import BUNDLES, bundles_folder

FOLDERS = ("configs", "docs")


def bundle_zip(
    names: Annotated[list[str] | None, typer.Argument(metavar="[BUNDLE]...", help="Default: all four.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the zip files.")] = Path("bundles-zip"),
    as_json: JsonOption = False,
) -> int:
    """Write bundles as zip files for MONAI's model zoo: NAME_vVERSION.zip with configs, docs, licence and weights.

    The weights are models/model.pt, a state dict, as monai.bundle.load expects them.
    """
    known = sorted(BUNDLES.values())
    if unknown := sorted(set(names or []) - set(known)):
        raise UsageError(f"bundle: expected some of {', '.join(known)}, got {', '.join(unknown)}")
    files = [str(_write_zip(bundles_folder() / name, output)) for name in names or known]
    if as_json:
        print_json(files)
    else:
        for file in files:
            typer.echo(file)
    return 0


def _write_zip(bundle: Path, output: Path) -> Path:
    """Write one zip, aside and renamed."""
    from monai_dgm.engines.weights import read_state_dict, save_weights, written_aside

    version = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))["version"]
    shipped = bundle / "models" / "shipped"
    target = output / f"{bundle.name}_v{version}.zip"
    with tempfile.TemporaryDirectory() as folder, written_aside(target) as partial:
        weights = Path(folder) / "model.pt"
        save_weights(read_state_dict(shipped / "model.safetensors"), weights)
        contents = {f"models/{path.name}": path for path in shipped.iterdir() if path.name != "model.safetensors"}
        contents["models/model.pt"], contents["LICENSE"] = weights, bundle / "LICENSE"
        for name in FOLDERS:
            contents |= {f"{name}/{path.name}": path for path in (bundle / name).iterdir() if path.is_file()}
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, path in sorted(contents.items()):
                archive.write(path, f"{bundle.name}/{name}")
    return target
