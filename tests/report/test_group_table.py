"""Tables of model cards."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from monai_dgm.errors import InputError
from monai_dgm.report.group_table import group_table, main, read_rows


def row(name: str, group: str, value: float | None, **others: Any) -> dict[str, Any]:
    return {"name": name, "group": group, "value": value, "low": 0.1, "high": 0.9, "num_images": 7, **others}


def test_a_row_for_each_group_and_a_column_for_each_metric() -> None:
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


def test_a_metric_without_interval_and_one_that_is_not_there() -> None:
    assert "| all | 0.500, 7 |" in group_table([row("auc", "all", 0.5, low=None, high=None)], {"auc": "AUC"})
    with pytest.raises(InputError, match="there is no dice"):
        group_table([row("auc", "all", 0.5)], {"dice": "Dice"})


def test_reports_of_all_bundles_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, metrics = tmp_path / "metrics.json", tmp_path / "detector_metrics.json"
    plain.write_text(json.dumps([row("auc", "all", 0.5)]))
    detections = [{"metric": "ap40", **row("", "all", v), "method": m} for m, v in (("prior", 0.1), ("detector", 0.2))]
    metrics.write_text(json.dumps({"rows": detections}))
    assert main([str(plain), "auc=AUC"]) == main([str(metrics), "ap40=AP40"]) == 0
    assert "0.500" in capsys.readouterr().out and read_rows(metrics)[0]["value"] == 0.2
    with pytest.raises(InputError, match=r"none\.json: expected a report's metrics"):
        read_rows(tmp_path / "none.json")


WITHOUT_GROUP = {name: value for name, value in row("auc", "all", 0.5).items() if name != "group"}


@pytest.mark.parametrize(
    ("content", "metric", "message"),
    [
        (None, "auc=AUC", r"metrics\.json: expected a report's metrics as JSON"),
        ("[", "auc=AUC", r"metrics\.json: expected a report's metrics as JSON"),
        ("3", "auc=AUC", r"metrics\.json: expected a report's metrics as JSON"),
        ('{"other": []}', "auc=AUC", r"metrics\.json: expected a report's metrics as JSON"),
        (json.dumps([WITHOUT_GROUP]), "auc=AUC", r"metrics\.json: expected a report's metrics as JSON"),
        (
            json.dumps([row("auc", "all", "high")]),
            "auc=AUC",
            r"metrics\.json: expected [^\n]*auc: the group is no text",
        ),
        (json.dumps([row("auc", "all", 0.5)]), "dice=Dice", "there is no dice"),
        (json.dumps([row("auc", "all", 0.5)]), "auc", "metrics: expected name=heading, got auc"),
        (json.dumps([row("auc", "all", 0.5)]), "=AUC", "metrics: expected name=heading, got =AUC"),
    ],
)
def test_what_gives_no_table_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, metric: str, message: str
) -> None:
    path = tmp_path / "metrics.json"
    if content is not None:
        path.write_text(content)
    assert main([str(path), metric]) == 2
    said = capsys.readouterr()
    assert re.fullmatch(rf"error: [^\n]*{message}[^\n]*\n", said.err) and not said.out


def test_the_process_ends_with_the_status(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "monai_dgm.report.group_table", str(tmp_path / "none.json"), "auc=AUC"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 2 and finished.stderr.startswith("error: ") and finished.stderr.count("\n") == 1
