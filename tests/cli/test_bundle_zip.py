"""The zips of the bundles stand by themselves: metadata, weights by MONAI's own loader, and inference from them."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigWorkflow, load, verify_metadata

import monai_dgm
from monai_dgm.cli.app import main
from monai_dgm.data import example_radiographs
from monai_dgm.engines.lungs.segmentor import network_from_settings
from monai_dgm.engines.weights import for_inference, load_residue_system, load_weights, read_model_settings
from monai_dgm.networks.detector import build_detector
from monai_dgm.utils.bundle_files import BUNDLES, bundles_folder

SCHEMA = Path(__file__).resolve().parents[1] / "bundles" / "meta_schema.json"


@pytest.fixture(scope="module")
def unzipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All four zips, made by the command and unpacked side by side."""
    zips, folder = tmp_path_factory.mktemp("zips"), tmp_path_factory.mktemp("unzipped")
    with pytest.raises(SystemExit) as ended:
        main(["bundle-zip", "--output", str(zips)])
    assert not ended.value.code
    names = sorted(path.name for path in zips.iterdir())
    assert names == [f"{bundle}_v{monai_dgm.__version__}.zip" for bundle in sorted(BUNDLES.values())]
    for path in zips.iterdir():
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    return folder


@pytest.mark.filterwarnings("ignore:No hash value provided")
@pytest.mark.parametrize("bundle", BUNDLES.values())
def test_the_zoos_files_are_there_and_the_metadata_is_valid(unzipped: Path, bundle: str, tmp_path: Path) -> None:
    schema = Path(shutil.copy(SCHEMA, tmp_path / "schema.json"))  # a schema that is there is not downloaded
    verify_metadata(meta_file=str(unzipped / bundle / "configs" / "metadata.json"), filepath=schema)
    for name in ("LICENSE", "docs/README.md", "docs/data_license.txt", "configs/inference.json", "models/model.json"):
        assert (unzipped / bundle / name).stat().st_size > 0
    assert not (unzipped / bundle / "models" / "model.safetensors").exists()


@pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning")  # MONAI's, for every configuration
@pytest.mark.parametrize("bundle", ["dgm", "lung_segmentation", "opacity_detection"])
def test_monai_loads_the_weights(unzipped: Path, bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(unzipped)
    network = for_inference(load(bundle, bundle_dir=unzipped, workflow_type="inference", device="cpu"), "cpu")
    shipped = bundles_folder() / bundle / "models" / "shipped" / "model.safetensors"
    settings = read_model_settings(shipped)
    if bundle == "dgm":
        expected: torch.nn.Module = load_residue_system(shipped)
    else:
        made = build_detector(settings) if bundle == "opacity_detection" else network_from_settings(settings)
        expected = for_inference(load_weights(made, shipped), "cpu")
    image = torch.rand(1, 1, settings["image_size"], settings["image_size"]) * 2 - 1
    with torch.no_grad():
        assert torch.equal(network(image), expected(image))


def test_inference_of_the_zips_is_that_of_the_package(
    command: Callable, unzipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = sorted((example_radiographs() / "images").iterdir())[0]
    monkeypatch.chdir(unzipped / "dgm")
    monkeypatch.setattr("monai_dgm.engines.setup.report_input_errors_in_one_line", lambda: None)
    workflow = ConfigWorkflow(
        config_file="configs/inference.json",
        workflow_type="inference",
        dataset_dir=str(image),
        output_dir=str(tmp_path / "zip"),
    )
    workflow.initialize()
    workflow.run()
    assert Path(workflow.parser.get_parsed_content("detector_path")).resolve().is_relative_to(unzipped)
    assert command("decompose", image, "--output", tmp_path / "own").status == 0
    for name in ("normal.png", "residue.nii.gz", "overlay.png"):
        written = tmp_path / "zip" / image.stem / name
        assert written.read_bytes() == (tmp_path / "own" / image.stem / name).read_bytes()


def test_an_unknown_bundle_is_refused(command: Callable, tmp_path: Path) -> None:
    finished = command("bundle-zip", "spleen", "--output", tmp_path)
    assert finished.status == 2 and "expected some of dgm, lung_segmentation" in finished.stderr
    assert json.loads(command("bundle-zip", "lung_segmentation", "-o", tmp_path, "--json").stdout) == [
        str(tmp_path / f"lung_segmentation_v{monai_dgm.__version__}.zip")
    ]
