"""Documents name code that exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("bundles/*/docs/*.md")]


def exists(name: str) -> bool:
    """Whether ``monai_dgm.<name>`` is a module, or something in one; dataclass fields count."""
    parts = ["monai_dgm", *name.split(".")]
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ImportError:
            continue
        for part in parts[end:]:
            if part in getattr(found, "__dataclass_fields__", {}):
                return True
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_names_of_the_package_exist(path: Path) -> None:
    names = re.findall(r"\bmonai_dgm\.([a-z_]+(?:\.\w+)*)", path.read_text(encoding="utf-8"))
    assert [name for name in dict.fromkeys(names) if not exists(name)] == []


def test_the_code_that_the_fidelity_notes_name_exists() -> None:
    missing, number = [], 0
    for line in (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            for name in re.findall(r"`([a-z_]+(?:\.\w+)+)(?:\([^`]*\))?`", line.split("|")[-2]):
                number += 1
                missing += [] if exists(name) else [name]
    assert missing == [] and number > 40
