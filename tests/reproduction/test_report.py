"""What is written: a page, CSV and LaTeX; where each cell comes from; and the paper's figures beside its data only."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from monai_dgm.reproduction.pages import write_page
from monai_dgm.reproduction.paper_values import PAPER_VALUES
from monai_dgm.reproduction.presets import PRESETS
from monai_dgm.reproduction.result_tables import collect
from monai_dgm.reproduction.table_files import percent, write_csv, write_latex
from tests.reproduction.conftest import RSNA, MadeUp, make_up

Make = Callable[..., MadeUp]
MAIN = {"5": ("auc", "average_precision", "f1"), "6": ("auc", "average_precision", "f1"), "7": ("ap", "ap40", "ap50")}


def written(made: MadeUp) -> Path:
    folder = made.root / "report"
    results = collect(made.plan, made.outcome, made.dataset_info, made.root)
    write_csv(results, made.dataset_info, folder)
    write_latex(results, made.dataset_info, folder)
    write_page(results, made.plan, made.outcome, made.dataset_info, folder)
    return folder


def cells(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(make_up(tmp_path_factory.mktemp("report"), sources=("nih", "shenzhen")))


def test_every_file_is_there(folder: Path) -> None:
    names = {f"table{number}.{kind}" for number in (4, 5, 6, 7) for kind in ("csv", "tex")}
    assert names | {"index.html", "differences.csv", "differences.tex"} <= set(texts(folder))
    assert not list(folder.glob(".partial-*"))


def test_every_cell_names_checkpoint_and_data(folder: Path) -> None:
    for path in folder.glob("*.csv"):
        for cell in cells(path):
            assert re.fullmatch(r"(jobs/\S+\.pt sha256:[0-9a-f]{64}(; )?)+", cell["checkpoints"])
            assert "the embedded sample" in cell["data"] and cell["manifest_sha256"] == "5" * 64
            assert int(cell["num_images"]) > 0 and int(cell["num_patients"]) > 0
    page = texts(folder)["index.html"]
    metrics = re.findall(r'<td class="n" title="([^"]*)">', page)
    titles = [title for title in metrics if title.startswith("fold")]
    assert len(titles) >= 9 * 5
    assert all("model.pt, SHA-256 " in title and "manifest 5555" in title and "fold 1" in title for title in titles)


def test_tables_have_the_papers_columns(folder: Path) -> None:
    page = texts(folder)["index.html"]
    heads = [re.findall(r"<th[^>]*>([^<]*)</th>", head) for head in re.findall(r"(?s)<thead>(.*?)</thead>", page)]
    six = ["Sen.", "Spe.", "Pre.", "F1", "AP", "AUC"]
    for expected in (["Size", *six], six, ["AP", "AP40", "AP50", "AP60", "AP70"]):
        assert ["Method", *expected, "n"] in heads
    latex = texts(folder)["table4.tex"]
    assert "Method & Size & Sen. & Spe. & Pre. & F1 & AP & AUC & $n$" in latex


@pytest.mark.parametrize("name", ["table4.tex", "table7.tex", "table5_nih.tex", "differences.tex"])
def test_latex_lines_have_as_many_cells_as_the_table(folder: Path, name: str) -> None:
    text = texts(folder)[name]
    for table in text.split("\\begin{table}")[1:]:
        columns = len(re.search(r"\\begin\{tabular\}\{(\w+)\}", table)[1])
        lines = [line for line in table.splitlines() if line.endswith("\\\\")]
        assert len(lines) > 2 and all(line.count(" & ") + 1 == columns for line in lines)
    assert not re.search(r"(?m)^[^%]*(?<!\\)[#_]", text)  # what TeX would take for its own


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
def test_latex_can_be_set(folder: Path, tmp_path: Path) -> None:
    body = "\n".join(text for name, text in texts(folder).items() if name.endswith(".tex"))
    document = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}{body}\\end{{document}}"
    (tmp_path / "all.tex").write_text(document, encoding="utf-8")
    subprocess.run(["pdflatex", "-halt-on-error", "all.tex"], cwd=tmp_path, check=True, capture_output=True)


def test_the_page_is_self_contained(folder: Path) -> None:
    page = texts(folder)["index.html"]
    assert not re.search(r"<(script|link|iframe|img)|https?://|url\(", page)
    assert "not for diagnosis" in page


def test_texts_are_escaped(made_up: Make) -> None:
    page = texts(written(made_up(sources=("a<b>&c", "d"), folds=(0,), tables=(5,))))["index.html"]
    assert "a&lt;b&gt;&amp;c" in page and "a<b>" not in page


def printed_values() -> set[str]:
    return {
        f"{mean:.2f} ± {sd:.2f}" for rows in PAPER_VALUES.values() for row in rows.values() for mean, sd in row.values()
    }


def test_the_papers_values_never_stand_beside_other_data(made_up: Make) -> None:
    made = made_up(preset=PRESETS["paper"], folds=(0,))
    for name, text in texts(written(made)).items():
        plain = text.replace("$\\pm$", "±")
        assert not any(figure in plain for figure in printed_values()), name
        assert "paper_mean" not in plain, name


def test_the_papers_values_stand_beside_its_own_data(made_up: Make) -> None:
    made = made_up(preset=PRESETS["paper"], is_rsna=True, described=RSNA, folds=(0,))
    found = texts(written(made))
    assert "95.83 ± 0.19" in found["index.html"] and "24.25 ± 0.14" in found["index.html"]
    assert "95.83 $\\pm$ 0.19" in found["table4.tex"]
    own = {(c["method"], c["metric"]): c for c in cells(made.root / "report" / "table5.csv")}
    assert own["DenseNet161, 224 px + DGM", "auc"]["paper_mean_percent"] == "96.78"


def test_failures_and_what_is_missing_are_on_the_page(made_up: Make) -> None:
    made = made_up(folds=(0,), tables=(5,))
    name = made.plan.rows[1].jobs[0]
    del made.outcome.finished[name]
    made.outcome.failed[name] = "no space left"
    page = texts(written(made))["index.html"]
    assert "Failed: fold 0: abnormality" in page and "no space left" in page and "Nothing yet: " in page


def test_nothing_done_is_a_page_too(made_up: Make) -> None:
    made = made_up(folds=(0,))
    made.outcome.waiting, made.outcome.finished = list(made.outcome.finished), {}
    assert "No metrics yet." in texts(written(made))["index.html"]


def test_percent() -> None:
    assert percent(0.849, 0.0051) == "84.9 ± 0.5"
    assert percent(0.5) == "50.0" and percent(float("nan")) == "–"


def test_differences_that_exclude_zero_alone_are_marked(made_up: Make) -> None:
    """Jinja takes the method of a dictionary for its key of the same name. The made-up controls equal the residues."""
    folder = written(made_up(folds=(0,), tables=(5,), controls=True))
    shown = [d for d in cells(folder / "differences.csv") if d["metric"] in MAIN[d["table"]]]
    excluded = [float(d["low"]) > 0 or float(d["high"]) < 0 for d in shown]
    assert texts(folder)["index.html"].count('class="n clear"') == sum(excluded) and 0 < sum(excluded) < len(shown)
