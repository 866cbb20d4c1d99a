"""The paper's tables as data: consistent with themselves as far as they are, and never beside other data."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from monai_dgm.jobs.dataset_info import DatasetInfo
from monai_dgm.reproduction.paper_values import PAPER_VALUES, may_show_paper, paper_value
from monai_dgm.reproduction.result_tables import metric_names

# docs/fidelity.md, "F1 of Tables 4, 5 and 6": the rows whose printed F1 is not that of their sensitivity and precision.
ODD_F1 = {(4, "DGM"), (4, "DenseNet161*"), (5, "+ DRIT"), (5, "+ DGM"), (6, "+ MUNIT"), (6, "+ DRIT")}
ROWS = [(table, name) for table, rows in PAPER_VALUES.items() for name in rows]


@pytest.mark.parametrize(("table", "name"), ROWS)
def test_rows_hold_together(table: int, name: str) -> None:
    printed = PAPER_VALUES[table][name]
    assert tuple(printed) == metric_names(table)
    means = {metric: mean for metric, (mean, _) in printed.items()}
    if table == 7:
        falling = [means[metric] for metric in ("ap40", "ap50", "ap60", "ap70")]
        assert falling == sorted(falling, reverse=True)  # AP does not rise with the IoU threshold
    else:
        f1 = 2 * means["sensitivity"] * means["precision"] / (means["sensitivity"] + means["precision"])
        assert (abs(f1 - means["f1"]) > 0.05) == ((table, name) in ODD_F1)


def test_densenet_is_the_same_in_tables_4_and_5() -> None:
    assert PAPER_VALUES[4]["DenseNet161"] == PAPER_VALUES[5]["DenseNet161"]


def test_values_by_name() -> None:
    assert paper_value(4, "DGM", "auc") == (95.83, 0.19)
    assert paper_value(7, "+ DGM", "ap50") == (24.25, 0.14)
    assert paper_value(5, "", "auc") is None and paper_value(7, "RetinaNet", "auc") is None


def test_only_the_challenge_has_the_papers_figures_beside_it() -> None:
    other = DatasetInfo(None, Path("sample"), "some data", "0", (0,))
    challenge = dataclasses.replace(other, is_rsna=True)
    words = "the RSNA challenge, the paper's hold-out, split 0"
    assert may_show_paper(challenge, [words, words])
    assert not may_show_paper(other, [words])
    assert not may_show_paper(challenge, [words, "the radiographs of cxr/manifest.csv, fold 0 as the test"])
