"""Tables and numbers of the documents are those of docs/results/*.json."""

from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def tool(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("result_tables", repository / "docs" / "result_tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def results(tool: ModuleType) -> dict[str, Any]:
    return copy.deepcopy(tool.read_results())


def test_documents_and_results_agree(tool: ModuleType, results: dict[str, Any]) -> None:
    assert tool.problems(results) == []


def test_every_file_says_with_which_command_and_when(repository: Path) -> None:
    for path in sorted((repository / "docs" / "results").glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        assert content["command"] and content["date"] >= "2026", path.name


def test_every_table_of_the_files_is_in_a_document(tool: ModuleType, results: dict[str, Any], repository: Path) -> None:
    texts = "".join((repository / name).read_text(encoding="utf-8") for name in tool.DOCUMENTS)
    for name, content in results.items():
        for table in content.get("tables", {}):
            assert texts.count(f"<!-- table: {name}.{table} -->") == 1, f"{name}.{table}"


def test_other_metrics_are_noticed_in_tables_and_text(tool: ModuleType, results: dict[str, Any]) -> None:
    """As after an evaluation of other weights."""
    for row in results["weights"]["metrics"]:
        row["value"] = 0.123
    results["mirror_images"]["tables"]["nih"]["rows"][0][1][0] = 0.123
    found = tool.problems(results)
    assert [line for line in found if "README.md: a table differs" in line]
    assert [line for line in found if "docs/results.md: a table differs" in line]


def test_a_number_that_no_file_has_is_named(tool: ModuleType, results: dict[str, Any]) -> None:
    text = "The AUC is 0.954, in truth 1234.5678.\n\n    python x.py --rate 0.7777\n\nWith `0.6666` and 128 px.\n"
    assert tool.unknown_numbers(text, results) == ["1234.5678"]


def test_cells(tool: ModuleType) -> None:
    rows = [{"name": "auc", "group": "all", "value": 0.81249, "low": 0.7, "high": 0.9, "std": 0.05, "num_images": 7}]
    known = {"a": {"metrics": rows, "tables": {"plain": {}, "metric": {}}}}
    known["a"]["tables"]["plain"] = {
        "columns": ["", "x"],
        "formats": ["", "{:.2f} ± {:.1f}"],
        "rows": [
            ["one", [0.5, 0.25]],
            ["two", "{a:auc@all|.3f}, {a:auc.num_images@all|d}, {a:auc@all|interval}"],
            ["three", "{a:auc@all|interval.1f}"],
        ],
    }
    known["a"]["tables"]["metric"] = {"heading": "m", "metrics": {"auc": "AUC"}, "groups": {"all": "everyone"}}
    assert tool.table_lines(known, "a", "plain")[2:] == [
        "| one | 0.50 ± 0.2 |",
        "| two | 0.812, 7, 0.812 [0.700, 0.900] |",
        "| three | 0.8 [0.7, 0.9] |",
    ]
    assert tool.table_lines(known, "a", "metric") == [
        "| m | everyone |",
        "|---|---|",
        "| AUC | 0.812 [0.700, 0.900] ± 0.050, n = 7 |",
    ]
    with pytest.raises(KeyError, match="there are 0"):
        tool.resolved("{a:dice@all|.3f}", known)


def test_metrics_of_a_report_are_taken_over(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "docs" / "results"
    folder.mkdir(parents=True)
    row = {"name": "auc", "group": "all", "value": 0.5, "low": 0.4, "high": 0.6, "std": 0.1, "num_images": 7}
    table = {"heading": "metric", "metrics": {"auc": "AUC"}, "groups": {"all": "all"}}
    (folder / "run.json").write_text(json.dumps({"command": "c", "date": "d", "tables": {"t": table}, "metrics": []}))
    (tmp_path / "metrics.json").write_text(json.dumps([row]))
    (tmp_path / "doc.md").write_text("Text.\n\n<!-- table: run.t -->\n| old |\n\nMore.\n")
    for name, value in (("ROOT", tmp_path), ("RESULTS", folder), ("DOCUMENTS", ("doc.md",))):
        monkeypatch.setattr(tool, name, value)
    monkeypatch.setattr("sys.argv", ["x", "--metrics", str(tmp_path / "metrics.json"), "--into", "run"])
    assert tool.main() == 0
    text = (tmp_path / "doc.md").read_text()
    assert "| AUC | 0.500 [0.400, 0.600] ± 0.100, n = 7 |" in text and "| old |" not in text
    assert text.startswith("Text.") and text.endswith("\n\nMore.\n")
    monkeypatch.setattr("sys.argv", ["x", "--check"])
    assert tool.main() == 0
    (tmp_path / "doc.md").write_text(text.replace("0.500 [", "0.501 ["))
    assert tool.main() == 1 and "doc.md: a table differs" in capsys.readouterr().out
