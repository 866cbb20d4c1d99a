from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("learning_curves", ROOT / "benchmarks" / "learning_curves.py")
assert spec is not None and spec.loader is not None
learning_curves = importlib.util.module_from_spec(spec)
spec.loader.exec_module(learning_curves)
curves, draw_curves = learning_curves.curves, learning_curves.draw_curves
reached_at, table_of = learning_curves.reached_at, learning_curves.table_of


def rows() -> list[dict[str, Any]]:
    gains = {"combined": 0.02, "random": 0.01}
    return [
        {"seed": seed, "strategy": name, "corrected_images": 10 * step, "ap": 0.1 + gain * step + 0.001 * seed}
        for name, gain in gains.items()
        for seed in range(3)
        for step in range(5)
    ]


def test_curves_are_in_order_of_images_and_seeds() -> None:
    found = curves(rows()[::-1])
    assert set(found) == {"combined", "random"}
    counts, values = found["combined"]
    np.testing.assert_array_equal(counts, [0, 10, 20, 30, 40])
    np.testing.assert_allclose(values[:, 0], [0.1, 0.101, 0.102])
    assert np.isnan(curves(rows()[:-1])["random"][1]).sum() == 1


@pytest.mark.parametrize(("goal", "expected"), [(0.1, 0), (0.05, 0), (0.12, 10), (0.14, 20), (0.13, 15), (0.2, np.nan)])
def test_where_a_curve_reaches_a_goal(goal: float, expected: float) -> None:
    reached = reached_at(np.array([0.0, 10.0, 20.0]), np.array([0.1, 0.12, 0.14]), goal)
    assert reached == pytest.approx(expected, nan_ok=True)


def test_the_table_says_how_many_corrections_reach_what_random_reaches() -> None:
    text = table_of(rows())
    assert "| 40 | 0.181 (0.001) | 0.141 (0.001) |" in text
    assert "combined: random's last AP, 0.141 with 40 corrections; reaches it with 20." in text
    assert "reaches it with" not in table_of([row for row in rows() if row["strategy"] == "combined"])


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    draw_curves(rows(), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000
