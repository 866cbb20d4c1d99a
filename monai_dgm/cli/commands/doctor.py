"""``monai-dgm doctor``: what is installed, and what is missing."""

from __future__ import annotations

from typing import Any

import typer

from monai_dgm.cli.installation import describe_installation, devices, problems_of
from monai_dgm.cli.output import JsonOption, print_json, print_pairs


def doctor(as_json: JsonOption = False) -> int:
    """Say what is installed: versions, devices, runtimes, weights, extras, label app; and what is missing.

    Ends with status 1 where something that every subcommand needs is missing or damaged.
    """
    found = describe_installation()
    found["devices"] = devices() if found["packages"]["torch"] else []
    found["problems"] = problems_of(found)
    if as_json:
        print_json(found)
    else:
        _print(found)
    return 1 if found["problems"] else 0


def _print(found: dict[str, Any]) -> None:
    packages = {name: version or "missing" for name, version in found["packages"].items()}
    print_pairs(
        f"monai-dgm {found['version']} ({found['installed_as']})",
        {"python": found["python"], **packages, "devices": "; ".join(found["devices"]) or "none"},
    )
    print_pairs("runtimes", {name: version or "not installed" for name, version in found["runtimes"].items()})
    print_pairs("weights", {name: _weights(one) for name, one in found["weights"].items()})
    extras = {name: _extra(name, one) for name, one in found["extras"].items()}
    print_pairs("extras", extras or {"not known": "monai-dgm is on the path, but not installed"})
    app = found["label_app"]
    state = {
        "files": "there" if app["files"] else "missing",
        "MONAI Label": app["monailabel"] or "not installed: pip install 'monai-dgm[label]'",
        "OHIF viewer": "there" if app["ohif_viewer"] else "not fetched (make ohif)",
        "Orthanc": "there" if app["orthanc"] else "not found",
    }
    print_pairs("label app", state)
    for problem in found["problems"]:
        typer.secho(f"problem: {problem}", fg="red")
    if not found["problems"]:
        typer.secho("nothing that is needed is missing", fg="green")


def _weights(one: dict[str, Any]) -> str:
    if "sha256" not in one:
        return str(one["state"])
    return f"{one['state']}, {one.get('image_size')} px, sha256 {one['sha256'][:12]}, {one.get('version')}"


def _extra(name: str, one: dict[str, Any]) -> str:
    if not one["missing"]:
        return "installed"
    return f"not complete ({one['for']}); without {', '.join(one['missing'])}: pip install 'monai-dgm[{name}]'"
