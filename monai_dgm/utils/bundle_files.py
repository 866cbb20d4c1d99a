"""Where the bundles and the label app lie: at the root of the repository, or inside the installed package.

A wheel has ``bundles/`` and ``apps/`` within ``monai_dgm`` (setup.py puts them there); in a repository they are beside
it. Everything that needs a file of them asks here.
"""

from __future__ import annotations

from pathlib import Path

from monai_dgm.errors import InputError

__all__ = ["BUNDLES", "app_folder", "bundle_folder", "bundles_folder", "in_wheel", "writable_folder"]

PACKAGE = Path(__file__).resolve().parents[1]
# name of a model -> the bundle that trains it
BUNDLES: dict[str, str] = {
    "decomposer": "dgm",
    "detector": "opacity_detection",
    "classifier": "opacity_classification",
    "lungs": "lung_segmentation",
}


def in_wheel() -> bool:
    """Whether this is an installed package that has the bundles in it, not a repository."""
    return (PACKAGE / "bundles").is_dir()


def bundles_folder() -> Path:
    """The folder of the bundles that came with this package.

    Raises:
        InputError: it is not there: the package was copied without it.
    """
    return _shipped("bundles")


def app_folder() -> Path:
    """The folder of the label app for MONAI Label; errors as :func:`bundles_folder`."""
    return _shipped("apps") / "radiology_dgm"


def bundle_folder(name: str) -> str:
    """The folder of one bundle, as its configurations take it where no ``bundle_root`` is given.

    In this order: ``bundles/NAME`` below the working folder (a repository), the working folder if it is the bundle or
    lies beside it, ``NAME`` below the working folder (unzipped there), and what came with this package.

    Args:
        name: such as "dgm".

    Raises:
        InputError: no such bundle.
    """
    places = [Path("bundles") / name]
    if Path("configs", "metadata.json").is_file():
        places += [Path(".")] if Path.cwd().name == name else []
        places += [Path("..") / name]
    places += [Path(name)]
    for place in places:
        if (place / "configs" / "metadata.json").is_file():
            return str(place)
    folder = bundles_folder() / name
    if not (folder / "configs").is_dir():
        known = ", ".join(sorted(BUNDLES.values()))
        raise InputError(f"bundle: expected one of {known}, got {name!r}")
    return str(folder)


def writable_folder(bundle_root: str) -> str:
    """Where a bundle's outputs go by default: the bundle itself, but ``./monai-dgm/NAME`` for one inside a wheel."""
    folder = Path(bundle_root).resolve()
    return str(Path("monai-dgm") / folder.name) if folder.is_relative_to(PACKAGE) else bundle_root


def _shipped(name: str) -> Path:
    for folder in (PACKAGE / name, PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise InputError(
        f"{PACKAGE}: expected the folder {name} in it or beside it; install the wheel, or use a repository"
    )
