"""The tutorials as they are kept. ``make docs`` runs them from beginning to end, and fails where a cell does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))
ids = [path.stem for path in TUTORIALS]


@pytest.mark.parametrize("path", TUTORIALS, ids=ids)
def test_notebooks_are_kept_without_outputs(path: Path) -> None:
    """Outputs are made when the site is built; kept ones would be out of date, and may name a machine."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
