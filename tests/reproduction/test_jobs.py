"""The plan: which jobs fill which rows."""

from __future__ import annotations

import re

import pytest

from monai_dgm.networks.classifiers import ARCHITECTURES
from monai_dgm.networks.detector import BACKBONES
from monai_dgm.reproduction.jobs import TABLES, make_plan
from monai_dgm.reproduction.paper_values import PAPER_VALUES
from monai_dgm.reproduction.presets import PRESETS

presets = pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))


@presets
def test_every_job_comes_after_what_it_needs_and_all_of_a_fold_need_one_decomposer(preset) -> None:
    plan = make_plan(preset, (0, 1, 2))
    seen: set[str] = set()
    for job in plan.jobs:
        assert job.needs is None or job.needs in seen
        seen.add(job.name)
    for fold in plan.folds:
        own = [job for job in plan.jobs if job.fold == fold]
        decomposers = [job.name for job in own if job.kind == "decomposer"]
        assert len(decomposers) == 1 and {job.needs for job in own} == {None, *decomposers}


@presets
def test_what_sees_a_residue_needs_the_decomposer_and_nothing_else_but_the_head_does(preset) -> None:
    for job in make_plan(preset, (0,)).jobs:
        sees = "residue" in job.overrides.get("channels", ())
        assert (job.needs is not None) == (sees or job.kind == "head")


@presets
def test_names_are_unique_and_can_be_folders(preset) -> None:
    names = [job.name for job in make_plan(preset, (0, 1)).jobs]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in names)


@presets
def test_rows_name_jobs_that_are_planned_and_say_their_size(preset) -> None:
    plan = make_plan(preset, (0, 1))
    jobs = {job.name: job for job in plan.jobs}
    for row in plan.rows:
        assert sorted(row.jobs) == [0, 1]
        for name in row.jobs.values():
            size = jobs[name].overrides.get("image_size")
            assert row.kind == "head" or f"{size} px" in row.name


@presets
def test_residues_are_all_that_paired_rows_differ_in(preset) -> None:
    plan = make_plan(preset, (0,))
    jobs = {job.name: job for job in plan.jobs}
    pairs: dict[tuple[int, str], list] = {}
    for row in plan.rows:
        if row.pair:
            pairs.setdefault((row.table, row.pair), []).append(jobs[row.jobs[0]])
    assert {table for table, _ in pairs} == {5, 6, 7}
    for without, with_residue in pairs.values():
        first, second = (dict(job.overrides) for job in (without, with_residue))
        assert (first.pop("channels"), second.pop("channels")) == (["image"], ["image", "residue"])
        assert first == second and without.configs == with_residue.configs


def test_the_papers_preset_has_every_row_of_the_paper_that_is_not_of_another_method() -> None:
    rows = {(row.table, row.paper) for row in make_plan(PRESETS["paper"], (0,)).rows}
    others = {"+ VA-GAN", "+ CycleGAN", "+ MUNIT", "+ DRIT"}
    assert rows == {(table, name) for table, printed in PAPER_VALUES.items() for name in printed if name not in others}


@pytest.mark.parametrize("name", ["small", "cpu"])
def test_two_cores_train_the_papers_architectures_too(name: str) -> None:
    rows = {row.paper for row in make_plan(PRESETS[name], (0,), (4,)).rows}
    assert {"AlexNet", "VGGNet19", "ResNet152", "DenseNet161", "DenseNet161*", "DGM"} <= rows


def test_steps_of_the_small_preset_are_a_few_hundred_each() -> None:
    """Its summary and docs/reproduction.md say how long it takes, so no length may depend on the data."""
    for job in make_plan(PRESETS["small"], (0,)).jobs:
        if job.kind in ("classifier", "detector"):
            assert 200 <= job.overrides["epoch_length"] * job.overrides["max_epochs"] <= 400
            assert job.overrides["max_epochs"] % job.overrides["val_interval"] == 0  # the last weights are looked at


@presets
def test_architectures_exist(preset) -> None:
    assert {network.architecture for network in (*preset.compared, *preset.classifiers)} <= set(ARCHITECTURES)
    assert {network.architecture for network in preset.detectors} <= set(BACKBONES)


def test_tables_share_jobs_and_can_be_made_one_by_one() -> None:
    preset = PRESETS["cpu"]
    together = {job.name for job in make_plan(preset, (0,)).jobs}
    apart = [{job.name for job in make_plan(preset, (0,), (table,)).jobs} for table in TABLES]
    assert set.union(*apart) == together and sum(map(len, apart)) > len(together)
    assert make_plan(preset, (0,), (7, 5)).tables == [5, 7]


def test_overlays_and_configurations_are_files_of_the_bundles(repository) -> None:
    for preset in PRESETS.values():
        for job in make_plan(preset, (0,)).jobs:
            for name in job.configs:
                assert (repository / "bundles" / job.bundle / "configs" / name).is_file(), (job.bundle, name)


def test_cross_fitting_changes_what_sees_residues_and_is_trained_on_them() -> None:
    plain, fitted = (make_plan(PRESETS["cpu"], (0,), cross_fitted=fingerprint).jobs for fingerprint in (None, "abc"))
    for before, after in zip(plain, fitted, strict=True):
        sees = "residue" in before.overrides.get("channels", ())
        assert (after != before) == sees == ("cross_fitted" in after.overrides)
        assert not sees or after.name == f"{before.name}-cross_fitted"
    assert {job.kind for job in fitted if "cross_fitted" in job.overrides} == {"classifier", "detector"}


@presets
def test_controls_add_jobs_and_change_none(preset) -> None:
    plain, controlled = (make_plan(preset, (0, 1), (5, 6, 7), "abc", controls) for controls in (False, True))
    known = {job.name: job for job in controlled.jobs}
    assert all(known.get(job.name) == job for job in plain.jobs)
    added = [job for name, job in known.items() if name not in {job.name for job in plain.jobs}]
    assert {job.kind for job in added} == {"head", "classifier", "detector"}
    for job in added:
        assert job.needs == f"fold{job.fold}-decomposer"
        if job.kind != "head":
            assert (
                job.overrides["channels"][1] in ("shuffled_residue", "mean_residue") and job.overrides["cross_fitted"]
            )
    assert {row.table for row in controlled.rows if row.heads} == {5, 6}
    assert all(row.heads[fold] in known for row in controlled.rows if row.heads for fold in (0, 1))
