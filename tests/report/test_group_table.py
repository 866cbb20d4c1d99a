"""Tables of model cards."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from monai_dgm.errors import InputError
from monai_dgm.report.group_table import group_table, main, read_rows


def row(name: str, group: str, value: float | None, **others: Any) -> dict[str, Any]:
    return {"name": name, "group": group, "value": value, "low": 0.1, "high": 0.9, "num_images": 7, **others}


def test_a_row_for_each_group_and_a_column_for_each_figure() -> None:
    rows = [
        row("auc", "all", 0.5),
        row("auc", "sex:F", 0.25),
        row("dice", "sex:F", math.nan),
        row("dice", "all", 0.125),
    ]
    rows += [row("other", "view:AP", 1.0), row("auc", "view:PA", None)]
    assert group_table(rows, {"auc": "AUC", "dice": "Dice"}).splitlines() == [
        "| | AUC | Dice |",
        "|---|---|---|",
        "| all | 0.500 [0.100, 0.900], 7 | 0.125 [0.100, 0.900], 7 |",
        "| sex F | 0.250 [0.100, 0.900], 7 |  |",
    ]


def test_a_figure_without_interval_and_one_that_is_not_there() -> None:
    assert "| all | 0.500, 7 |" in group_table([row("auc", "all", 0.5, low=None, high=None)], {"auc": "AUC"})
    with pytest.raises(InputError, match="there is no dice"):
        group_table([row("auc", "all", 0.5)], {"dice": "Dice"})


def test_reports_of_all_bundles_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, figures = tmp_path / "metrics.json", tmp_path / "figures.json"
    plain.write_text(json.dumps([row("auc", "all", 0.5)]))
    detections = [{"figure": "ap40", **row("", "all", v), "method": m} for m, v in (("prior", 0.1), ("detector", 0.2))]
    figures.write_text(json.dumps({"rows": detections}))
    main([str(plain), "auc=AUC"])
    main([str(figures), "ap40=AP40"])
    assert "0.500" in capsys.readouterr().out and read_rows(figures)[0]["value"] == 0.2
    with pytest.raises(InputError, match=r"none\.json: expected a report's figures"):
        read_rows(tmp_path / "none.json")
