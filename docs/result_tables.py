"""Fill the tables of README.md and docs/*.md from docs/results/*.json, so that no result is typed by hand.

    python docs/result_tables.py            # write the tables
    python docs/result_tables.py --check    # fail where a document and the JSON files differ
    python docs/result_tables.py --metrics OUT/report/metrics.json --into sample    # take the metrics of an evaluation
    python docs/result_tables.py --metrics OUT/report --into benchmark_systems    # or those of the benchmark

A table is below a comment ``<!-- table: FILE.NAME -->``. FILE.json holds the command, the date, and under "tables" the
table NAME in one of two forms:

- ``{"columns": [...], "formats": [...], "rows": [[...], ...]}``: a cell is a text, or numbers for its column's format.
  A text may refer to a metric as ``{FILE:METRIC@GROUP|.3f}``, ``{FILE:METRIC.low@GROUP|.3f}``, or, for value and
  interval, ``{FILE:METRIC@GROUP|interval}``, or with other digits ``|interval.4f``, and for value and deviation over
  seeds ``|deviation``. FILE is one of docs/results, or a bundle with shipped metrics.
- ``{"heading": ..., "metrics": {name: label}, "groups": {group: heading}}``: a line for each metric of the file's
  "metrics", which are the rows of a ``metrics.json`` as an evaluation writes it.

Numbers with decimals in the text around the tables must occur in the JSON files too, rounded as in the text; "quoted"
lists those that are in no table, each with what it is.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
DOCUMENTS = (
    "README.md",
    "docs/results.md",
    "docs/performance.md",
    "docs/experiments.md",
    "docs/benchmark.md",
    "docs/command.md",
    "docs/archive.md",
)
_TABLE = re.compile(r"(?m)^<!-- table: (\w+)\.(\w+) -->\n(?:\|.*\n)*")
_REFERENCE = re.compile(r"\{(\w+):([\w/]+)(?:\.(\w+))?@([^|{}]+)\|([^{}]+)\}")
_NUMBER = re.compile(r"(?<![\w.,/])[-+]?\d+\.\d+(?![\w.]*[\w/])")


def read_results() -> dict[str, dict[str, Any]]:
    """Contents of all JSON files by name, and the metrics of the shipped models by the name of their bundle."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}
    for path in sorted((ROOT / "bundles").glob("*/models/shipped/model.json")):
        metrics = json.loads(path.read_text(encoding="utf-8")).get("metrics", {})
        if all("value" in metric for metric in metrics.values()):  # without groups
            metrics = {"all": metrics}
        rows = [{"name": n, "group": g, **row} for g, named in metrics.items() for n, row in named.items()]
        found.setdefault(path.parents[2].name, {"metrics": rows})
    return found


def resolved(text: str, everything: dict[str, dict[str, Any]]) -> str:
    """A cell with its references replaced by the metrics."""

    def value_of(found: re.Match[str]) -> str:
        name, metric, field, group, form = found.groups()
        rows = [row for row in everything[name]["metrics"] if (row["name"], row["group"]) == (metric, group)]
        if len(rows) != 1:
            raise KeyError(f"{found[0]}: expected one such row in {name}, there are {len(rows)}")
        if form.startswith("interval"):
            digits = form.removeprefix("interval") or ".3f"
            return f"{rows[0]['value']:{digits}} [{rows[0]['low']:{digits}}, {rows[0]['high']:{digits}}]"
        if form == "deviation":
            return f"{rows[0]['value']:.3f} ± {rows[0]['sd']:.3f}"
        return format(rows[0][field or "value"], form)

    return _REFERENCE.sub(value_of, text)


def table_lines(everything: dict[str, dict[str, Any]], file: str, name: str) -> list[str]:
    """Lines of a table in Markdown."""
    results = everything[file]
    table = results["tables"][name]
    if "metrics" in table:
        columns, rows = [table["heading"], *table["groups"].values()], list(_metric_rows(results["metrics"], table))
    else:
        columns = table["columns"]
        rows = [[_cell(*pair, everything) for pair in zip(table["formats"], row, strict=True)] for row in table["rows"]]
    lines = ["| " + " | ".join(row) + " |" for row in (columns, *rows)]
    lines.insert(1, "|" + "---|" * len(columns))
    return [line.replace("|  |", "| |").replace("|  |", "| |") for line in lines]


def _cell(form: str, cell: str | list[float], everything: dict[str, dict[str, Any]]) -> str:
    return resolved(cell, everything) if isinstance(cell, str) else form.format(*cell)


def _metric_rows(metrics: list[dict[str, Any]], table: dict[str, Any]) -> Iterator[list[str]]:
    found = {(row["name"], row["group"]): row for row in metrics}
    for name, label in table["metrics"].items():
        cells = []
        for group in table["groups"]:
            row = found[name, group]
            text = f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}] ± {row['std']:.3f}"
            cells.append(f"{text}, n = {row['num_images']}")
        yield [label, *cells]


def filled(text: str, results: dict[str, dict[str, Any]]) -> str:
    """A document with its tables made anew."""
    return _TABLE.sub(
        lambda found: "\n".join([found[0].split("\n", 1)[0], *table_lines(results, found[1], found[2]), ""]), text
    )


def known_numbers(value: Any) -> Iterator[float]:
    """All numbers of the JSON files, those inside texts too."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from known_numbers(key)
            yield from known_numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from known_numbers(inner)
    elif isinstance(value, str):
        yield from (float(number) for number in re.findall(r"\d+(?:\.\d+)?(?:e-?\d+)?", value))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield abs(float(value))


def unknown_numbers(text: str, results: dict[str, dict[str, Any]]) -> list[str]:
    """Numbers with decimals in the text, outside of tables and code, that no JSON file has."""
    known = [number for number in known_numbers(results) if math.isfinite(number)]
    prose = re.sub(r"(?ms)^    .*?$|```.*?```|`[^`]*`|\]\([^)]*\)", " ", _TABLE.sub("\n", text))
    found = []
    for number in dict.fromkeys(_NUMBER.findall(prose)):
        digits = len(number.partition(".")[2])
        value = abs(float(number))
        if not any(abs(other - value) <= 0.5001 * 10**-digits for other in known):
            found.append(number)
    return found


def problems(results: dict[str, dict[str, Any]]) -> list[str]:
    """What is wrong in the documents, one line each."""
    lines = []
    for name in DOCUMENTS:
        text = (ROOT / name).read_text(encoding="utf-8")
        if filled(text, results) != text:
            lines.append(f"{name}: a table differs from docs/results/*.json; run python docs/result_tables.py")
        lines += [f"{name}: {number} is in no file of docs/results" for number in unknown_numbers(text, results)]
    return lines


def benchmark_metrics(report: Path, tables: Any) -> list[dict[str, Any]]:
    """Metrics of a benchmark's report that tables refer to; their group is SYSTEM@TEST_SET@GROUP."""
    found = {}
    for row in csv.DictReader((report / "metrics.csv").read_text(encoding="utf-8").splitlines()):
        found[row["metric"], f"{row['system']}@{row['test_set']}@{row['group']}"] = row | {"value": row["mean"]}
    for row in csv.DictReader((report / "differences.csv").read_text(encoding="utf-8").splitlines()):
        key = f"difference_of_{row['metric']}", f"{row['ours']} - {row['other']}@{row['test_set']}@{row['group']}"
        found[key] = row | {"value": row["difference"]}
    wanted = dict.fromkeys((metric, group) for _, metric, _, group, _ in _REFERENCE.findall(json.dumps(tables)))
    return [
        {"name": metric, "group": group}
        | {name: round(float(row[name]), 4) for name in ("value", "low", "high", "sd") if row.get(name)}
        | {"num_images": int(row["num_images"])}
        for metric, group in wanted
        for row in (found[metric, group],)
    ]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where something differs")
    parser.add_argument("--metrics", type=Path, help="metrics.json of a report, or the folder of a benchmark's report")
    parser.add_argument("--into", help="name of the file in docs/results that takes these metrics")
    arguments = parser.parse_args()
    if arguments.metrics:
        target = RESULTS / f"{arguments.into}.json"
        content = json.loads(target.read_text(encoding="utf-8"))
        if arguments.metrics.is_dir():
            metrics = benchmark_metrics(arguments.metrics, content["tables"])
        else:
            metrics = json.loads(arguments.metrics.read_text(encoding="utf-8"))
        content |= {"date": str(datetime.date.today()), "metrics": metrics}
        target.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    results = read_results()
    if not arguments.check:
        for name in DOCUMENTS:
            path = ROOT / name
            path.write_text(filled(path.read_text(encoding="utf-8"), results), encoding="utf-8")
    found = problems(results)
    print("\n".join(found) or "documents and results agree")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
