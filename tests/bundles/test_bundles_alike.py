"""What the bundles that stand on the decomposer, and the lung bundle, have in common with every bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from monai.bundle import ConfigParser, verify_metadata, verify_net_in_out

import monai_dgm
from tests.bundles.small_trainings import check_commands, check_components, files

CONFIGS = {
    "lung_segmentation": ("train", "evaluate", "inference"),
    "opacity_classification": ("train", "evaluate", "head", "paper", "inference"),
    "opacity_detection": ("train", "evaluate", "paper", "inference"),
}
REQUIRED = ("LICENSE", "configs/logging.conf", "models", "docs/README.md", "docs/data_license.txt")
COMMANDS = {"lung_segmentation": 5, "opacity_classification": 5, "opacity_detection": 4}
PAIRS = [(bundle, name) for bundle, names in CONFIGS.items() for name in names]


@pytest.fixture(params=CONFIGS)
def root(request: pytest.FixtureRequest, repository: Path) -> Path:
    return repository / "bundles" / request.param


@pytest.mark.parametrize(("bundle_name", "name"), PAIRS)
def test_every_component_exists_and_takes_its_arguments(repository: Path, bundle_name: str, name: str) -> None:
    check_components(repository / "bundles" / bundle_name / "configs" / f"{name}.json")


@pytest.mark.parametrize("bundle_name", ["opacity_classification", "opacity_detection"])
def test_sample_is_the_one_that_the_decomposer_is_trained_on(repository: Path, bundle_name: str) -> None:
    """Another one is refused in the folder they share, and the decomposer would know some of its test images."""
    both = []
    for bundle in (repository / "bundles" / bundle_name, repository / "bundles" / "dgm"):
        parser = ConfigParser()
        parser.read_config(bundle / "configs" / "train.json")
        parser["bundle_root"] = str(bundle)
        names = ("sample_patients", "sample_size", "seed", "fold", "validation_fraction")
        both.append([parser.get_parsed_content(name) for name in names])
    assert both[0] == both[1]


@pytest.mark.parametrize("name", REQUIRED)
def test_required_file(root: Path, name: str) -> None:
    assert (root / name).exists()
    assert (root / name).is_dir() or (root / name).stat().st_size > 0


def test_version_is_that_of_the_package(root: Path) -> None:
    metadata = json.loads((root / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["version"] == monai_dgm.__version__ == metadata["required_packages_version"]["monai-dgm"]
    assert metadata["version"] in metadata["changelog"]


@pytest.mark.filterwarnings("ignore:No hash value provided")
def test_verify_metadata(root: Path, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"  # a schema that is there is not downloaded
    schema.write_bytes(Path(__file__).with_name("meta_schema.json").read_bytes())
    verify_metadata(meta_file=str(root / "configs" / "metadata.json"), filepath=schema)


def test_verify_net_in_out_without_weights(root: Path, tmp_path: Path) -> None:
    # no weights and no settings: the paper's network
    verify_net_in_out("network_def", **files(root), device="cpu", bundle_root=str(tmp_path))


def test_commands_of_the_documentation_name_what_there_is(root: Path, repository: Path) -> None:
    check_commands(root / "docs" / "README.md", repository, COMMANDS[root.name])
