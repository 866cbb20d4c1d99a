"""The model zoo's gate, step by step as its verify_bundle does it, with nothing excluded."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from monai.bundle import ckpt_export, verify_metadata, verify_net_in_out
from monai.data import load_net_with_metadata

import monai_dgm
from monai_dgm.engines.weights import load_weights, read_model_settings, save_weights
from monai_dgm.networks.decomposer import Decomposer
from monai_dgm.networks.residue_system import OUTPUT_CHANNELS
from tests.bundles.small_trainings import files

if TYPE_CHECKING:
    from tests.bundles.small_trainings import Trained

REQUIRED = (
    "LICENSE",
    "configs/metadata.json",
    "configs/inference.json",
    "configs/logging.conf",
    "models",
    "docs/README.md",
    "docs/data_license.txt",
)


@pytest.fixture(scope="module")
def root(repository: Path) -> Path:
    return repository / "bundles" / "dgm"


@pytest.fixture(scope="module")
def metadata(root: Path) -> dict[str, Any]:
    return json.loads((root / "configs" / "metadata.json").read_text(encoding="utf-8"))


def zoo_bundle(root: Path, folder: Path, **network: Any) -> Path:
    """A copy of the bundle with (untrained) weights in it, as the model zoo has it."""
    shutil.copytree(root / "configs", folder / "configs")
    torch.manual_seed(0)
    settings = {"image_size": 32, "base_width": 2, "num_res_blocks": 1, **network}
    (folder / "models").mkdir()
    (folder / "models" / "model.json").write_text(json.dumps(settings))
    names = ("base_width", "num_res_blocks", "normal_skips", "residue_skips")
    own = {name: settings[name] for name in names if name in settings}
    save_weights(Decomposer(**own).state_dict(), folder / "models" / "model.pt")
    return folder


@pytest.mark.parametrize("name", REQUIRED)
def test_required_file(root: Path, name: str) -> None:
    assert (root / name).exists()
    assert (root / name).is_dir() or (root / name).stat().st_size > 0


def test_licence_is_apache(root: Path) -> None:
    assert "Apache License" in (root / "LICENSE").read_text(encoding="utf-8")
    assert "Apache-2.0" in (root / "docs" / "data_license.txt").read_text(encoding="utf-8")


def test_version_is_that_of_the_package_and_in_the_changelog(metadata: dict[str, Any]) -> None:
    assert metadata["version"] == monai_dgm.__version__ == metadata["required_packages_version"]["monai-dgm"]
    assert metadata["version"] in metadata["changelog"]


def test_versions_are_those_that_the_tests_run_with(metadata: dict[str, Any], repository: Path) -> None:
    pins: dict[str, set[str]] = {}
    for match in re.finditer(r"(?m)^([\w.-]+)==([^;\s]+)", (repository / "constraints.txt").read_text()):
        pins.setdefault(match[1].lower(), set()).add(match[2].split("+")[0])
    named = {**metadata["required_packages_version"], "monai": metadata["monai_version"]}
    named.update(torch=metadata["pytorch_version"], numpy=metadata["numpy_version"])
    del named["monai-dgm"]
    for name, version in named.items():
        assert version in pins[name.lower()], f"{name} {version}, constraints.txt has {sorted(pins[name.lower()])}"


def test_channels_are_the_networks(metadata: dict[str, Any]) -> None:
    prediction = metadata["network_data_format"]["outputs"]["pred"]
    assert tuple(prediction["channel_def"][str(i)] for i in range(3)) == OUTPUT_CHANNELS
    assert prediction["num_channels"] == len(OUTPUT_CHANNELS)


@pytest.mark.filterwarnings("ignore:No hash value provided")
def test_verify_metadata(root: Path, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"  # a schema that is there is not downloaded
    schema.write_bytes((Path(__file__).with_name("meta_schema.json")).read_bytes())
    verify_metadata(meta_file=str(root / "configs" / "metadata.json"), filepath=schema)


@pytest.mark.filterwarnings("ignore:No hash value provided")
def test_our_schema_refuses(metadata: dict[str, Any], tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_bytes((Path(__file__).with_name("meta_schema.json")).read_bytes())
    for key, value in (("network_data_format", {}), ("version", 1), ("authors", ""), ("task", None)):
        (tmp_path / "metadata.json").write_text(json.dumps({**metadata, key: value}))
        with pytest.raises(ValueError, match="Failed validating"):
            verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=schema)


def test_verify_net_in_out_at_full_size(root: Path, tmp_path: Path) -> None:
    # no weights and no settings yet: the paper's network, on the smallest image, as the zoo does it (n = 1)
    verify_net_in_out("network_def", **files(root), device="cpu", bundle_root=str(tmp_path))


@pytest.mark.slow
def test_ckpt_export_at_full_size(root: Path, tmp_path: Path) -> None:
    bundle = zoo_bundle(root, tmp_path / "dgm", image_size=224, base_width=64, num_res_blocks=4)
    verify_net_in_out("network_def", **files(bundle), device="cpu", n=7, bundle_root=str(bundle))
    exported, weights = bundle / "models" / "verify_model.ts", bundle / "models" / "model.pt"
    ckpt_export("network_def", exported, weights, **files(bundle), bundle_root=str(bundle))
    image, network = torch.rand(1, 1, 224, 224) * 2 - 1, load_weights(Decomposer(), weights).eval()
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(exported).eval()(image), network(image), rtol=0, atol=1e-5)


@pytest.mark.parametrize("network", [{}, {"normal_skips": True, "residue_skips": True, "base_width": 4}])
def test_verify_net_in_out_and_ckpt_export_of_a_trained_size(root: Path, tmp_path: Path, network: dict) -> None:
    bundle = zoo_bundle(root, tmp_path / "dgm", **network)
    verify_net_in_out("network_def", **files(bundle), device="cpu", bundle_root=str(bundle))
    exported, weights = bundle / "models" / "verify_model.ts", bundle / "models" / "model.pt"
    ckpt_export("network_def", exported, weights, **files(bundle), bundle_root=str(bundle))
    settings = read_model_settings(weights)
    own = {name: settings[name] for name in ("base_width", "num_res_blocks", "normal_skips", "residue_skips")}
    network_itself = load_weights(Decomposer(**own), weights).eval()
    script, meta, extra = load_net_with_metadata(exported, more_extra_files=("inference.json",))
    for shape in ((1, 1, 32, 32), (3, 1, 96, 64)):
        image = torch.rand(shape) * 2 - 1
        with torch.no_grad():
            torch.testing.assert_close(script.eval()(image), network_itself(image), rtol=0, atol=1e-6)
    assert meta["version"] == monai_dgm.__version__
    assert json.loads(extra["inference.json"])["network_def"]["_target_"].endswith(".build_residue_system")


def test_weights_of_a_training_export(root: Path, trained: Trained, tmp_path: Path) -> None:
    weights, exported = trained.weights, tmp_path / "model.ts"
    ckpt_export("network_def", exported, weights, **files(root), bundle_root=str(root), ckpt_dir=str(trained.models))
    settings = read_model_settings(weights)
    network = Decomposer(2, 1, settings["normal_skips"], settings["residue_skips"])
    load_weights(network, weights).eval()
    image = torch.rand(2, 1, 64, 64) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(exported).eval()(image), network(image), rtol=0, atol=1e-6)
