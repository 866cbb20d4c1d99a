"""The ablations change what their names say, and the paper's rows are eq. 6; table and figure of made-up trainings."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from monai_dgm.losses.objective import DGMObjective, ObjectiveWeights

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("ablations", ROOT / "benchmarks" / "ablations.py")
assert spec is not None and spec.loader is not None
ablations = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ablations)


def configured(name: str, tmp_path: Path, dataset_dir: Path | None = None) -> ConfigParser:
    job = ablations.plan(name, 0, 100, {"image_size": 64, "base_width": 2})
    parser = ConfigParser()
    parser.read_config([str(ROOT / "bundles" / job.bundle / "configs" / file) for file in job.configs])
    parser.update({**job.overrides, "bundle_root": str(ROOT / "bundles" / "dgm"), "output_dir": str(tmp_path)})
    if dataset_dir is not None:
        parser["dataset_dir"] = str(dataset_dir)
    return parser


def weights_of(name: str, tmp_path: Path, dataset_dir: Path | None = None) -> dict[str, float]:
    objective = configured(name, tmp_path, dataset_dir).get_parsed_content("objective")
    assert isinstance(objective, DGMObjective)
    return {field.name: getattr(objective.weights, field.name) for field in fields(ObjectiveWeights)}


@pytest.mark.parametrize("on_sample", [True, False])
@pytest.mark.parametrize("name", ablations.PAPER)
def test_the_papers_rows_are_equation_6(name: str, on_sample: bool, tmp_path: Path) -> None:
    weights = weights_of(name, tmp_path, None if on_sample else tmp_path)
    total_variation = 0.0 if name.endswith("total_variation") else 1.0
    expected = {"adversarial": 10.0, "reconstruction": 10.0, "total_variation": total_variation, "abnormality": 1.0}
    assert {term: weight for term, weight in weights.items() if weight} == {t: w for t, w in expected.items() if w}
    parser = configured(name, tmp_path)
    assert parser.get_parsed_content("train#batch_transforms") == []
    network = parser.get_parsed_content("network_def#joint_decoder")
    assert network is not name.endswith("joint_decoder")
    assert parser.get_parsed_content("discriminator#network_def#layout") == "pix2pixhd"


@pytest.mark.parametrize("term", [*ablations.ADDED_TERMS, "total_variation"])
def test_a_term_is_left_out_alone(term: str, tmp_path: Path) -> None:
    default, without = (weights_of(name, tmp_path) for name in ("default", f"without_{term}"))
    assert default[term] > 0
    assert {name for name in default if default[name] != without[name]} == {term} and without[term] == 0


def test_every_term_that_we_added_has_a_row(tmp_path: Path) -> None:
    default = weights_of("default", tmp_path)
    added = {name for name, weight in default.items() if weight and name not in ablations.PAPER_TERMS}
    assert added == set(ablations.ADDED_TERMS)


def test_variants_and_seeds_have_folders_of_their_own() -> None:
    jobs = [ablations.plan(name, seed, 8, {}) for name in ablations.VARIANTS for seed in (0, 1)]
    assert len({job.name for job in jobs}) == len(jobs)
    assert all(job.overrides["splits#seed"] == 0 for job in jobs)  # other seeds, the same patients


def history(joint: bool, last: float) -> list[dict[str, Any]]:
    rows = [{"iteration": i, "loss/loss": last + 10 * (i < 3), "loss/reconstruction": 0.1} for i in range(1, 11)]
    if joint:
        for row in rows:
            row |= {"loss/joint_reconstruction": 0.2, "loss/loss": row["loss/loss"] + 2.0}
    return [*rows, {"iteration": 11, "validation/normal_ssim": 0.5}]


def test_curves_with_and_without_the_joint_decoder_have_the_same_terms(tmp_path: Path) -> None:
    runs = {"paper": [history(True, 1.0), history(True, 3.0)], "paper_without_joint_decoder": [history(False, 1.0)]}
    figures = ablations.curve_figures(runs)
    assert figures["paper"]["last"] == pytest.approx([1.0, 3.0])
    assert figures["paper_without_joint_decoder"] == {"last": [1.0], "reached": [3.0], "jumps": [0.0]}
    table = ablations.curve_table(runs)
    assert table["rows"][0] == ["paper", [2], [2.0, 1.4142], [3.0, 0.0], [0.0, 0.0]]
    assert table["rows"][1] == ["paper without joint decoder", [1], "1.000", "3.000", "0.000"]
    ablations.draw_curves(runs, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes()[1:4] == b"PNG"


def test_table_has_mean_and_deviation_over_seeds_and_numbers_of_images(tmp_path: Path) -> None:
    runs = [{"residue_auc": (0.6, 50), "normal_ssim": (0.9, 30)}, {"residue_auc": (0.8, 50)}]
    table = ablations.table_of({"default": runs, "paper": [{"residue_auc": (0.5, 50)}]})
    assert table["columns"] == ["variant", "seeds", "residue auc (n = 50)", "normal ssim (n = 30)"]
    assert table["rows"] == [["default", [2], [0.7, 0.1414], "0.900"], ["paper", [1], "0.500", ""]]
    path = tmp_path / "ablations.json"
    ablations.write_results(path, {"sample": table}, "first")
    ablations.write_results(path, {"real": table}, "second")
    content = json.loads(path.read_text())
    assert set(content["tables"]) == {"sample", "real"} and content["command"] == "second"
