"""The compared systems through the bundle: trained, evaluated and run on a radiograph, by their configurations."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from monai_dgm.engines.weights import load_residue_system, read_model_settings
from monai_dgm.handlers.history import read_history
from tests.bundles.small_trainings import Tiny
from tests.bundles.test_configs import SYSTEMS

if TYPE_CHECKING:
    from tests.bundles.conftest import BundleCommands

OWN: dict[str, dict[str, Any]] = {
    "vagan": {"train#step#schedule#steps": 1, "train#step#schedule#long_steps": 1},
    "munit": {"num_scales": 2, "num_layers": 2},
    "drit": {"num_scales": 2, "num_layers": 2, "train#step#content_steps": 0},
    "aeu": {"network_def#hidden": 8, "test#network_def#hidden": 8},
    "ddad": {"network_def#hidden": 8, "test#network_def#hidden": 8, "num_members": 2},
}
TERMS = {
    "vagan": ("adversarial", "map", "critic", "penalty"),
    "cyclegan": ("adversarial", "cycle", "identity", "discriminator"),
    "munit": ("adversarial", "image_reconstruction", "style", "content", "cycle", "discriminator"),
    "drit": ("cross_cycle", "kl", "latent_regression", "mode_seeking", "content_discriminator"),
    "aeu": ("squared_error",),
    "ddad": ("module_a", "module_b"),
}


def metrics(folder: Path) -> dict[str, float]:
    """Of a run's test images."""
    rows = json.loads((folder / "report" / "metrics.json").read_text())
    return {row["name"]: row["value"] for row in rows if row["group"] == "all"}


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_is_trained_evaluated_and_run(
    name: str, bundle: BundleCommands, tiny: Tiny, sample_dir: Path, tmp_path: Path
) -> None:
    overrides = tiny(tmp_path / "out", batch_size=4, **OWN.get(name, {}))
    finished = bundle.run("training", "train", name, **overrides)
    assert finished.returncode == 0, finished.stderr
    history = read_history(tmp_path / "out" / "history.jsonl")
    assert len(history) == 6 and all(math.isfinite(value) for row in history for value in row.values())
    assert {f"loss/{term}" for term in TERMS[name]} <= {key for row in history for key in row}
    assert "validation/decomposition_score" in history[-1]

    weights = tmp_path / "out" / "models" / "model.pt"
    settings = read_model_settings(weights)
    assert settings["architecture"] == name and settings["image_size"] == 32
    assert load_residue_system(weights).network_settings() == settings["network_settings"]

    told = metrics(tmp_path / "out")
    assert math.isfinite(told["normal_ssim"]) and math.isfinite(told["residue_pixel_ap"])
    assert "head_auc" not in told or told["head_auc"] is None or math.isnan(told["head_auc"])
    if name not in ("munit", "ddad"):  # what follows takes the system from its file, and is the same for all of them
        return

    others = ("image_size", "base_width", "num_res_blocks", "output_dir", *OWN.get(name, {}))
    general = {key: value for key, value in overrides.items() if key not in others}
    finished = bundle.run("evaluating", "train", "evaluate", **general, output_dir=tmp_path / "evaluated")
    assert finished.returncode == 0, finished.stderr
    assert metrics(tmp_path / "evaluated")["normal_ssim"] == told["normal_ssim"]

    image = sorted((sample_dir / "images").iterdir())[0]
    given = {"dataset_dir": image, "ckpt_dir": weights.parent, "output_dir": tmp_path / "decomposed"}
    finished = bundle.run("run", "inference", **given, panels=False)
    assert finished.returncode == 0, finished.stderr
    (result,) = json.loads((tmp_path / "decomposed" / "scores.json").read_text())["images"]
    assert result["abnormality_probability"] is None
    assert (tmp_path / "decomposed" / image.stem / "residue.nii.gz").stat().st_size > 0


def test_the_last_weights_are_kept_not_the_best(repository: Path) -> None:
    """A network that changes nothing has the best SSIM to the radiograph."""
    for name in SYSTEMS:
        overlay = json.loads((repository / "bundles" / "dgm" / "configs" / f"{name}.json").read_text())
        assert overlay["validate#handlers#3#keep"] == "last", name


@pytest.mark.parametrize("name", SYSTEMS)
def test_both_sizes_have_the_same_keys(name: str, repository: Path) -> None:
    overlay = json.loads((repository / "bundles" / "dgm" / "configs" / f"{name}.json").read_text())
    sizes = overlay["sizes"]
    assert set(sizes) == {"paper", "small"} and set(sizes["paper"]) == set(sizes["small"])
    used = {key for key in sizes["paper"] if f"@sizes[@size]['{key}']" in json.dumps(overlay)}
    assert used == set(sizes["paper"])
