"""Tables and figures as files: every value with its origin, best values marked, pictures that can be opened."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from monai_dgm.benchmark.figures import choose_images, glance_figure, panels_figure
from monai_dgm.benchmark.result_files import write_csv, write_json, write_latex
from monai_dgm.benchmark.results import Results
from monai_dgm.benchmark.tables import glance_columns, make_tables
from tests.benchmark.conftest import make_test_set, nothing, perfect


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_value_has_its_interval_seeds_and_weights(results: Results, tmp_path: Path) -> None:
    write_csv(make_tables(results), results, {"ours": "sha256:abc"}, tmp_path)
    rows = rows_of(tmp_path / "metrics.csv")
    own = next(r for r in rows if (r["table"], r["system"], r["metric"]) == ("inserted", "ours", "pixel_ap"))
    estimate = results.estimates["ours", "inserted", "all", "pixel_ap"]
    assert float(own["mean"]) == float(f"{estimate.mean:.6g}") and own["weights"] == "sha256:abc"
    assert own["seeds"] == "3" and len(own["values"].split()) == 3 and own["num_patients"] == "12"
    differences = rows_of(tmp_path / "differences.csv")
    assert len(differences) == len(results.comparisons) and {d["ours"] for d in differences} == {"ours"}


def test_real_images_have_a_table_for_each_source_and_inserted_ones_for_each_part(results: Results) -> None:
    tables = {table.key: table for table in make_tables(results)}
    assert {"inserted", "real_source: a", "real_source: b", "inserted_kind: real"} <= set(tables)
    assert tables["inserted_kind: real"].detail and not tables["inserted"].detail
    assert [row.name for row in tables["inserted"].rows][-1] == "unchanged"


def test_latex_marks_the_best_and_escapes_names(results: Results, tmp_path: Path) -> None:
    write_latex(make_tables(results), "made up", tmp_path)
    text = (tmp_path / "inserted.tex").read_text(encoding="utf-8")
    assert text.startswith("% made up") and "\\textbf{" in text and "\\bottomrule" in text
    assert (tmp_path / "real_source__a.tex").is_file()


def test_json_has_no_nan_and_every_estimate(results: Results, tmp_path: Path) -> None:
    tables = make_tables(results)
    write_json(tables, results, {"preset": "toy"}, {}, tmp_path / "results.json")
    content = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"), parse_constant=lambda name: 1 / 0)
    shown = sum(one is not None for table in tables for row in table.rows for one in row.estimates)
    assert content["preset"] == "toy" and len(content["metrics"]) == shown


def test_the_figure_at_a_glance_has_a_column_for_each_source(results: Results) -> None:
    columns = glance_columns(results)
    assert ("real", "source: a", "pixel_ap") in columns and ("real", "source: b", "pixel_ap") in columns
    picture = np.asarray(Image.open(io.BytesIO(glance_figure(results))).convert("RGB"))
    assert picture.shape[1] > 800 and picture.std() > 10


def test_panels_show_images_of_all_sources_and_do_not_choose_by_result() -> None:
    test_set = make_test_set("real")
    chosen = choose_images(test_set)
    assert len(chosen) == 4 and test_set.labels[chosen].all()
    assert set(test_set.sources[chosen].tolist()) == {"a", "b"}
    shown = {"right": perfect(test_set), "nothing": nothing(test_set)}
    for residues in (True, False):
        picture = Image.open(io.BytesIO(panels_figure(test_set, shown, residues)))
        assert picture.width < picture.height * 1.2
