"""Tables as files: CSV with one row a cell, and LaTeX in the layout of papers."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_dgm.utils.atomic import atomic_write

__all__ = [
    "latex_escaped",
    "latex_frame",
    "latex_line",
    "latex_small",
    "plain_number",
    "slug",
    "without_nan",
    "write_rows",
]


def plain_number(value: float) -> str:
    """Six significant digits; empty for NaN."""
    return f"{value:.6g}" if math.isfinite(value) else ""


def without_nan(value: Any, digits: int | None = None) -> Any:
    """Dictionaries and lists as JSON can hold them: NaN and infinity become None.

    Args:
        value: of any depth.
        digits: significant digits of floats; None leaves them as they are.
    """
    if isinstance(value, dict):
        return {name: without_nan(one, digits) for name, one in value.items()}
    if isinstance(value, list):
        return [without_nan(one, digits) for one in value]
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return value if digits is None else float(f"{value:.{digits}g}")


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows with the same keys as a CSV file with a heading, atomically; an empty file for no row."""
    with atomic_write(path) as partial, open(partial, "w", newline="", encoding="utf-8") as stream:
        if rows:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return path


def latex_frame(words: str, heads: Sequence[str], body: Sequence[str]) -> str:
    """A table for ``\\usepackage{booktabs}``: caption, heading and rows; other signs than ASCII are replaced."""
    lines = [
        "\\begin{table}", "\\centering", f"\\caption{{{words}.}}", f"\\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        "\\toprule", latex_line(heads), "\\midrule", *body, "\\bottomrule", "\\end{tabular}", "\\end{table}", "",
    ]  # fmt: skip
    return "\n".join(lines).replace("±", "$\\pm$").replace("–", "--").replace("−", "$-$")


def latex_line(cells: Sequence[str]) -> str:
    """Cells as one row."""
    return " & ".join(cells) + " \\\\"


def latex_small(text: str) -> str:
    """A cell in small letters; empty stays empty."""
    return f"{{\\footnotesize {text}}}" if text else ""


def latex_escaped(text: str) -> str:
    """Text with the letters that LaTeX reads as commands escaped."""
    return "".join(f"\\{letter}" if letter in "&%$#_{}" else letter for letter in text)


def slug(text: str) -> str:
    """Text as a part of a file name."""
    return "".join(letter if letter.isalnum() else "_" for letter in text)
