"""The systems that are compared: those of ``systems.json``, and any other that keeps to the protocol."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from monai_dgm.errors import InputError

__all__ = ["UNCHANGED", "System", "find_systems", "import_modules"]

UNCHANGED = "unchanged"
"""Name of the reference that gives the radiograph back: y' = z, a = 0."""
_KNOWN = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
_WEIGHTS = (".pt", ".safetensors")


@dataclass(frozen=True)
class System:
    """A compared system.

    Attributes:
        name: letters, digits and underscores.
        title: for tables.
        supervision: what its training is told.
        overlays: configuration files over ``bundles/dgm/configs/train.json``, or absolute paths; none for weights.
        weights: a file that is judged as it is, and never trained here; None for a system that is trained.
    """

    name: str
    title: str
    supervision: str = ""
    overlays: tuple[str, ...] = ()
    weights: Path | None = None


def find_systems(bundles: Path, asked: Sequence[str] | None = None, added: Sequence[str] = ()) -> list[System]:
    """The systems of a run, in the order of ``systems.json``, those that were added last.

    Args:
        bundles: folder of the bundles; a system whose files are not there is left out.
        asked: names; None for all.
        added: ``NAME=FILE``: a configuration (.json) to train with, or weights (.pt, .safetensors) with their settings
            beside them, of any :class:`monai_dgm.networks.residue_system.ResidueSystem`.

    Raises:
        InputError: an unknown name, or a file that is not there.
    """
    systems = {name: _known(name, bundles) for name in _KNOWN}
    for text in added:
        system = _added(text)
        systems[system.name] = system
    unknown = [name for name in asked or () if name not in systems]
    if unknown:
        raise InputError(f"systems: expected some of {', '.join(systems)}, got {unknown[0]}")
    found = [s for s in systems.values() if (asked is None or s.name in asked) and _is_there(s, bundles)]
    missing = [name for name in asked or () if name not in {system.name for system in found}]
    if missing:
        raise InputError(f"systems: expected the files of {missing[0]} in {bundles.name}, they are not there")
    return found


def import_modules(names: Sequence[str]) -> None:
    """Import modules whose residue systems are to be known by their architecture.

    Raises:
        InputError: a module that is not on the Python path.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise InputError(f"import: expected a module on the Python path, got {name!r} ({error})") from error


def _known(name: str, bundles: Path) -> System:
    values = _KNOWN[name]
    weights = bundles / values["weights"] if "weights" in values else None
    return System(name, values["title"], values["supervision"], tuple(values.get("overlays", ())), weights)


def _added(text: str) -> System:
    name, _, file = text.partition("=")
    path = Path(file).absolute()
    if not name.isidentifier() or not file or path.suffix not in (".json", *_WEIGHTS):
        raise InputError(f"add: expected NAME=FILE with a configuration (.json) or weights (.pt), got {text!r}")
    if not path.is_file():
        raise InputError(f"add: expected a file, there is no {file}")
    if name in _KNOWN or name == UNCHANGED:
        raise InputError(f"add: expected another name than {name}, which is taken")
    if path.suffix in _WEIGHTS:
        return System(name, name, "its own", weights=path)
    return System(name, name, "its own", (str(path),))


def _is_there(system: System, bundles: Path) -> bool:
    files = [bundles / "dgm" / "configs" / name for name in system.overlays]
    return all(file.is_file() for file in ([system.weights] if system.weights else files))
