"""The bundle's inference from the command line: one file, a folder with a bad one, and what cannot be done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from monai_dgm.engines.decomposition.outputs import OUTPUT_FILES, UNCERTAINTY_FILES
from monai_dgm.engines.weights import save_weights
from monai_dgm.networks.decomposer import Decomposer

if TYPE_CHECKING:
    from tests.bundles.conftest import BundleCommands
    from tests.bundles.small_trainings import Trained


@pytest.fixture(scope="module")
def folder(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two radiographs in two formats, and a file that is none."""
    folder = tmp_path_factory.mktemp("radiographs")
    first, second = sorted((sample_dir / "images").iterdir())[:2]
    (folder / "a.png").write_bytes(first.read_bytes())
    pixels = np.asarray(Image.open(second)).astype(np.float32)
    nibabel.Nifti1Image(pixels.T, np.diag([-1, -1, 1, 1])).to_filename(folder / "b.nii.gz")
    (folder / "broken.png").write_bytes(first.read_bytes()[:200])
    return folder


def scores(output: Path) -> dict:
    return json.loads((output / "scores.json").read_text(encoding="utf-8"))


def test_one_file(bundle: BundleCommands, trained: Trained, folder: Path, tmp_path: Path) -> None:
    image = folder / "a.png"
    finished = bundle.run("run", "inference", dataset_dir=image, ckpt_dir=trained.models, output_dir=tmp_path)
    assert finished.returncode == 0, finished.stderr
    (result,) = scores(tmp_path)["images"]
    assert result["image_id"] == "a" and 0 <= result["abnormality_probability"] <= 1
    assert {path.name for path in (tmp_path / "a").iterdir()} == set(OUTPUT_FILES)
    assert nibabel.load(tmp_path / "a" / "residue.nii.gz").shape[:2] == Image.open(image).size
    assert result["uncertainty"] is None and scores(tmp_path)["settings"]["uncertainty_passes"] is None
    assert scores(tmp_path)["model"]["file"] == "model.pt" and scores(tmp_path)["settings"]["size"] == 32


def test_preprocessing_of_the_command_line_is_what_runs(
    bundle: BundleCommands, trained: Trained, folder: Path, tmp_path: Path
) -> None:
    image = tmp_path / "wide.png"
    Image.open(folder / "a.png").crop((0, 8, 64, 48)).save(image)
    told = {}
    for fit in ("pad", "stretch"):
        given = {"dataset_dir": image, "ckpt_dir": trained.models, "output_dir": tmp_path / fit}
        given |= {"uncertainty": True, "member_paths": f"['{trained.weights}']"}
        finished = bundle.run("run", "inference", **given, **{"preprocessing#fit": fit})
        assert finished.returncode == 0, finished.stderr
        told[fit] = scores(tmp_path / fit)
        assert told[fit]["settings"]["fit"] == fit and told[fit]["settings"]["uncertainty_passes"] == 4
        assert {path.name for path in (tmp_path / fit / "wide").iterdir()} == {*OUTPUT_FILES, *UNCERTAINTY_FILES}
        assert told[fit]["images"][0]["uncertainty"] > 0
    ways = [one["images"][0]["abnormality_probability"] for one in told.values()]
    assert ways[0] != ways[1]


def test_bad_file_of_a_folder_is_listed_and_the_others_go_on(
    bundle: BundleCommands, trained: Trained, folder: Path, tmp_path: Path
) -> None:
    # the run id "evaluating", which the platform's tools use, is the same
    finished = bundle.run("evaluating", "inference", dataset_dir=folder, ckpt_dir=trained.models, output_dir=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "Traceback" not in finished.stderr + finished.stdout
    told = scores(tmp_path)
    assert [result["image_id"] for result in told["images"]] == ["a", "b"]
    (failed,) = told["failed"]
    assert failed["file"] == "broken.png" and failed["reason"]
    assert not (tmp_path / "broken").exists()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("no dataset_dir", "dataset_dir: expected a radiograph or a folder of them"),
        ("no such folder", "nowhere: no such file or folder, expected radiographs"),
        ("only a bad file", "broken.png: "),
        ("no model", "model.pt: expected a file of trained weights, there is none; run training first"),
        ("another network", "model.pt: expected weights of Decomposer as configured"),
        ("no weights", "model.pt: expected weights of Decomposer as configured"),
        ("bad settings", "model.json: expected settings of a model as JSON"),
    ],
)
def test_what_cannot_be_done_is_one_line_on_stderr(
    bundle: BundleCommands, trained: Trained, folder: Path, tmp_path: Path, fault: str, expected: str
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    settings = {"base_width": 2, "num_res_blocks": 1, "image_size": 32}
    (models / "model.json").write_text("{" if fault == "bad settings" else json.dumps(settings))
    if fault == "no weights":
        (models / "model.pt").write_bytes(b"nothing of torch")
    elif fault != "no model":
        torch.manual_seed(0)
        save_weights(Decomposer(4 if fault == "another network" else 2, 1).state_dict(), models / "model.pt")
    inputs = {"no such folder": tmp_path / "nowhere", "only a bad file": folder / "broken.png"}
    given = {} if fault == "no dataset_dir" else {"dataset_dir": inputs.get(fault, folder / "a.png")}
    finished = bundle.run("run", "inference", ckpt_dir=models, output_dir=tmp_path / "out", **given)
    assert finished.returncode == (2 if fault in ("no dataset_dir", "no such folder") else 1)
    lines = finished.stderr.strip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1 and expected in errors[0], finished.stderr
    assert "Traceback" not in finished.stderr
