"""The end of an evaluation: page, figures as CSV and JSON, panels."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from ignite.engine import Engine

from monai_dgm.handlers.report_writer import ReportWriter, write_rows
from monai_dgm.metrics.case_results import MetricRow

NAN = math.nan
ROWS = [
    MetricRow("head_auc", "all", 0.75, 0.5, 1.0, 0.125, 6, 5),
    MetricRow("head_ap", 'source:a, "b"', NAN, NAN, NAN, NAN, 2, 2, "one class is absent"),
]


def test_rows_come_back_from_csv_and_json(tmp_path: Path) -> None:
    write_rows(ROWS, tmp_path / "new")
    assert json.loads((tmp_path / "new" / "metrics.json").read_text())[1]["value"] is None
    with open(tmp_path / "new" / "metrics.csv", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [row["value"] for row in table] == ["0.75", ""]
    assert table[1]["group"] == 'source:a, "b"' and table[1]["note"] == "one class is absent"
    first = json.loads((tmp_path / "new" / "metrics.json").read_text())[0]
    assert MetricRow(**first) == ROWS[0]


def run(metrics: SimpleNamespace, folder: Path, **settings: object) -> ReportWriter:
    writer = ReportWriter(metrics, folder, "A title", "What was done.", num_panels=2, **settings)
    engine = Engine(lambda *_: None)
    writer.attach(engine)
    engine.run([0], max_epochs=1)
    return writer


def test_writes_a_report_and_names_it(
    metrics: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = tmp_path / "history.jsonl"
    history.write_text("".join(json.dumps({"iteration": i, "epoch": 1, "loss/loss": 1 / i}) + "\n" for i in (1, 2, 3)))
    run(metrics, tmp_path, settings={"image_size": 32}, history=history, warnings=["one normal for everybody"])
    report = tmp_path / "report"
    assert f"report: {report / 'index.html'}" in capsys.readouterr().out
    assert {file.name for file in report.iterdir()} == {"index.html", "metrics.csv", "metrics.json", "panels.png"}
    page = (report / "index.html").read_text(encoding="utf-8")
    for words in ("A title", "What was done.", "image_size", "one normal for everybody"):
        assert words in page
    names = [row["name"] for row in json.loads((report / "metrics.json").read_text())]
    assert names == [row.name for row in metrics.rows]


def test_warnings_of_a_monitor_that_come_later_are_in_it(metrics: SimpleNamespace, tmp_path: Path) -> None:
    warnings: list[str] = []
    writer = ReportWriter(metrics, tmp_path, "t", "s", warnings=warnings, num_panels=1)
    warnings.append("the residue is dying")  # the list is the monitor's own and fills while training
    writer(Engine(lambda *_: None))
    assert "the residue is dying" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


def test_without_history_and_warnings(metrics: SimpleNamespace, tmp_path: Path) -> None:
    run(metrics, tmp_path, history=tmp_path / "there is none.jsonl", warnings=None)
    assert (tmp_path / "report" / "index.html").is_file()
