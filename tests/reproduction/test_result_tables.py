"""From scores to rows: thresholds, folds, sources, positive classes, differences."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from monai_dgm.engines.classification.classification_evaluation import read_scores, write_scores
from monai_dgm.errors import InputError
from monai_dgm.metrics.classification import balanced_threshold
from monai_dgm.reproduction.jobs import Row
from monai_dgm.reproduction.result_tables import ResultRow, Results, collect, millions_of_parameters
from monai_dgm.reproduction.test_predictions import stack_scores
from tests.reproduction.conftest import RSNA, SAMPLE, MadeUp, classification_records

Make = Callable[..., MadeUp]


def collected(made: MadeUp) -> Results:
    return collect(made.plan, made.outcome, made.dataset_info, made.root)


def rows_of(results: Results, table: int, group: str = "all") -> list[ResultRow]:
    return next(t for t in results.tables if t.number == table).groups[group]


def scores_of(made: MadeUp, row: ResultRow, part: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Labels and scores of each fold."""
    found = [read_scores(made.root / one.job_record.scores[part]) for one in row.predictions]
    return [(np.array([r.label for r in records]), np.array([r.score for r in records])) for records in found]


def test_figures_are_scikit_learns_averaged_over_folds(made_up: Make) -> None:
    made = made_up(tables=(4, 6))
    for table, sign in ((4, -1), (6, 1)):  # Table 4: normal is the positive class
        row = rows_of(collected(made), table)[0]
        folds = scores_of(made, row, 1)
        aucs = [roc_auc_score(labels, scores) for labels, scores in folds]
        precisions = [average_precision_score(labels == (sign > 0), sign * scores) for labels, scores in folds]
        assert row.summaries["auc"].mean == pytest.approx(np.mean(aucs), abs=1e-9)
        assert row.summaries["auc"].sd == pytest.approx(np.std(aucs, ddof=1), abs=1e-9)
        assert row.summaries["average_precision"].mean == pytest.approx(np.mean(precisions), abs=1e-9)
        assert row.summaries["auc"].low < row.summaries["auc"].mean < row.summaries["auc"].high


def test_normal_is_positive_in_tables_4_and_5_and_opacity_in_6(made_up: Make) -> None:
    made = made_up(folds=(0,))
    results = collected(made)
    for table in (4, 5, 6):
        row = rows_of(results, table)[0]
        (labels, scores), (known, of_known) = scores_of(made, row, 1)[0], scores_of(made, row, 0)[0]
        called = scores >= balanced_threshold(known, of_known)
        of_normals, of_abnormals = (~called)[labels == 0].mean(), called[labels == 1].mean()
        expected = (of_abnormals, of_normals) if table == 6 else (of_normals, of_abnormals)
        found = row.summaries["sensitivity"].mean, row.summaries["specificity"].mean
        assert found == pytest.approx(expected)


def test_the_threshold_comes_from_validation_alone(made_up: Make) -> None:
    made = made_up(folds=(0,), tables=(5,))
    before = rows_of(collected(made), 5)[0]
    record = before.predictions[0].job_record
    validation = read_scores(made.root / record.scores[0])
    shifted = [dataclasses.replace(r, score=min(1.0, r.score + 0.2)) for r in validation]
    write_scores(shifted, made.root / record.scores[0])
    after = rows_of(collected(made), 5)[0]
    assert after.predictions[0].threshold > before.predictions[0].threshold
    assert after.summaries["auc"].mean == before.summaries["auc"].mean
    assert after.summaries["sensitivity"].mean > before.summaries["sensitivity"].mean  # more are called normal


def test_sources_get_rows_of_their_own_images(made_up: Make) -> None:
    made = made_up(sources=("nih", "shenzhen"))
    results = collected(made)
    for table in (4, 5, 6, 7):
        whole, nih, shenzhen = (rows_of(results, table, g)[0].summaries for g in ("all", "nih", "shenzhen"))
        name = "ap" if table == 7 else "auc"
        assert whole[name].num_images == nih[name].num_images + shenzhen[name].num_images
    assert [d.group for d in results.tables[1].differences] == ["all", "nih", "shenzhen"]


def test_a_source_of_one_label_gets_none(made_up: Make) -> None:
    made = made_up(sources=("nih", "rsna_normal"), folds=(0,), tables=(5,))
    for record in made.outcome.finished.values():
        for name in record.scores:
            records = read_scores(made.root / name)
            kept = [r for r in records if r.source == "nih" or r.label == 0]
            write_scores(kept, made.root / name)
    assert list(collected(made).tables[0].groups) == ["all", "nih"]


def test_one_source_is_not_shown_twice(made_up: Make) -> None:
    assert list(collected(made_up(folds=(0,), tables=(5,))).tables[0].groups) == ["all"]


def test_differences_are_with_minus_without_on_the_same_images(made_up: Make) -> None:
    results = collected(made_up())
    assert [len(table.differences) for table in results.tables] == [0, 1, 1, 1]
    for table in results.tables[1:]:
        difference = table.differences[0]
        name = "ap" if table.number == 7 else "auc"
        without, with_residue = rows_of(results, table.number)
        expected = with_residue.summaries[name].mean - without.summaries[name].mean
        figure = difference.metrics[name]
        assert figure.difference == pytest.approx(expected) and expected > 0
        assert figure.low < figure.difference < figure.high and 0 < figure.p_value <= 1
        assert difference.folds == (0, 1)


def test_a_loss_is_reported_as_one(made_up: Make) -> None:
    made = made_up(tables=(5,))
    names = {name for row in made.plan.rows if "residue" in row.channels for name in row.jobs.values()}
    for name in names:
        path = made.root / made.outcome.finished[name].scores[1]
        write_scores([dataclasses.replace(r, score=1 - r.score) for r in read_scores(path)], path)
    figure = collected(made).tables[0].differences[0].metrics["auc"]
    assert figure.difference < 0 and figure.high < 0


def test_other_test_images_are_not_paired_and_the_reader_is_told(made_up: Make) -> None:
    made = made_up(folds=(0,), tables=(6,))
    path = made.root / made.outcome.finished[made.plan.rows[0].jobs[0]].scores[1]
    write_scores(read_scores(path)[:-1], path)
    results = collected(made)
    assert results.tables[0].differences == [] and "not tested on the same images" in results.problems[0]


def test_what_has_not_run_is_listed_and_the_rest_is_there(made_up: Make) -> None:
    made = made_up(folds=(0, 1), tables=(5,))
    without, with_residue = made.plan.rows
    del made.outcome.finished[with_residue.jobs[0]], made.outcome.finished[with_residue.jobs[1]]
    del made.outcome.finished[without.jobs[1]]
    table = collected(made).tables[0]
    assert table.empty == [with_residue.name] and not table.differences
    summary = table.groups["all"][0].summaries["auc"]
    assert len(summary.values) == 1 and math.isnan(summary.sd)


def test_figures_of_other_weights_are_refused(made_up: Make) -> None:
    made = made_up(folds=(0,), tables=(5,))
    record = made.outcome.finished[made.plan.rows[0].jobs[0]]
    path = (made.root / record.scores[1]).with_name("metrics.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "model": {"sha256": "f" * 64}}))
    results = collected(made)
    assert results.tables[0].empty == [made.plan.rows[0].name]
    assert "ffffffffffff" in results.problems[0] and len(results.problems) == 1


def test_metrics_of_earlier_versions_are_read(made_up: Make) -> None:
    made = made_up(folds=(0,), tables=(5,))
    for record in made.outcome.finished.values():
        if record.scores:
            path = (made.root / record.scores[1]).with_name("metrics.json")
            path.rename(path.with_name("figures.json"))
    results = collected(made)
    assert not results.problems and not results.tables[0].empty


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "expected the metrics of"),
        ("[", "expected the metrics of"),
        ("[]", "expected the metrics of"),
        ('{"model": {"sha256": "0"}}', "expected the metrics of"),
        ('{"model": {"sha256": "0"}, "settings": {}, "tested_on": ""}', "expected metrics of weights"),
    ],
)
def test_metrics_that_cannot_be_used_are_a_problem(made_up: Make, content: str | None, message: str) -> None:
    made = made_up(folds=(0,), tables=(5,))
    record = made.outcome.finished[made.plan.rows[0].jobs[0]]
    path = (made.root / record.scores[1]).with_name("metrics.json")
    path.unlink() if content is None else path.write_text(content)
    results = collected(made)
    assert message in results.problems[0] and results.tables[0].empty == [made.plan.rows[0].name]


def test_images_that_cannot_be_used_are_a_problem(made_up: Make) -> None:
    made = made_up(folds=(0,), tables=(5,))
    first, second = (made.outcome.finished[row.jobs[0]] for row in made.plan.rows)
    validation, test = made.root / first.scores[0], made.root / second.scores[1]
    write_scores([r for r in read_scores(validation) if r.label == 0], validation)
    write_scores([*read_scores(test), read_scores(test)[0]], test)
    problems = collected(made).problems
    assert "expected validation images of both labels" in problems[0]
    assert "expected test images that differ, got 60 of 61" in problems[1]


def test_sizes_are_those_of_the_paper_where_the_networks_are() -> None:
    """Table 4: 57.0, 139.6, 58.1 and 26.5 million with two output neurons, ours have one."""
    row = Row(4, "", "classifier", ("image",), {})
    for architecture, size in (("alexnet", 57.0), ("vgg19", 139.6), ("resnet152", 58.1), ("densenet161", 26.5)):
        settings = {"architecture": architecture, "channels": ["image"]}
        assert millions_of_parameters(row, settings) == pytest.approx(size, abs=0.06)
    head = dataclasses.replace(row, kind="head")
    assert millions_of_parameters(head, {"base_width": 64, "num_res_blocks": 1}) == pytest.approx(7.5, abs=0.06)


@pytest.mark.parametrize("is_rsna", [False, True])
def test_the_papers_figures_need_folder_and_jobs_to_agree(made_up: Make, is_rsna: bool) -> None:
    described = SAMPLE if is_rsna else RSNA
    assert not collected(made_up(is_rsna=is_rsna, described=described, folds=(0,), tables=(5,))).with_paper


def test_a_residue_is_compared_with_each_control(made_up: Make) -> None:
    results = collected(made_up(tables=(5, 7), folds=(0,), controls=True))
    assert not results.problems
    found = {
        (d.table, d.first.row.name.partition(" px")[2], d.second.row.name.partition(" px")[2])
        for t in results.tables
        for d in t.differences
    }
    residue, shuffled, mean, head = " + DGM", " + another image's residue", " + the mean residue", ", head's logit"
    assert {(f, s) for table, f, s in found if table == 5} == {
        (residue, ""), (residue, shuffled), (residue, mean), (residue, head), (residue + head, head)
    }  # fmt: skip
    assert len([f for f in found if f[0] == 7]) == 3


def scored(seed: int, gain: float, number: int = 400) -> list:
    return classification_records(seed, gain, ("nih",), number)


def test_stacking_adds_what_the_head_knows_and_no_more() -> None:
    own, strong, blind = ([scored(seed, gain) for seed in seeds] for seeds, gain in
                          (((1, 2), 1.0), ((3, 4), 3.0), ((5, 6), 0.0)))  # fmt: skip

    def area(records: list) -> float:
        return float(roc_auc_score([r.label for r in records], [r.score for r in records]))

    stacked = stack_scores(own, strong)
    assert area(stacked[1]) > max(area(own[1]), area(strong[1]))
    assert area(stack_scores(own, blind)[1]) == pytest.approx(area(own[1]), abs=0.02)
    assert [r.image_id for r in stacked[1]] == [r.image_id for r in own[1]]
    flipped = [dataclasses.replace(r, label=1 - r.label) for r in own[1]]
    assert [r.score for r in stack_scores([own[0], flipped], strong)[1]] == [r.score for r in stacked[1]]


def test_images_that_the_head_has_not_scored_are_an_error() -> None:
    own = [scored(1, 1.0, 20), scored(2, 1.0, 20)]
    with pytest.raises(InputError, match="scores of all images, 1 have none"):
        stack_scores(own, [own[0], own[1][1:]])
    with pytest.raises(InputError, match="both labels"):
        stack_scores([[r for r in own[0] if r.label], own[1]], own)
