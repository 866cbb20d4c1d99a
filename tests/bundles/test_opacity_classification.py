"""The classification bundle: training, resuming, figures, the head, files, and what the platform's tools ask for."""

from __future__ import annotations

import csv
import inspect
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pydoc import locate
from typing import TYPE_CHECKING, Any

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_metadata, verify_net_in_out
from monai.bundle.config_item import ConfigComponent

from monai_dgm.engines.weights import load_weights, read_model_settings
from monai_dgm.handlers.history import read_history
from monai_dgm.networks.classifiers import build_classifier
from tests.bundles.test_configs import commands, components
from tests.decomposers import write_decomposer

if TYPE_CHECKING:
    from tests.bundles.conftest import BundleCommands, Finished

NAMES = ("train", "evaluate", "head", "paper", "inference")
REQUIRED = ("LICENSE", "configs/logging.conf", "models", "docs/README.md", "docs/data_license.txt")
Overrides = dict[str, Any]


@pytest.fixture(scope="module")
def root(repository: Path) -> Path:
    return repository / "bundles" / "opacity_classification"


@pytest.fixture(scope="module")
def tiny(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Overrides]:
    """tiny(output_dir, **others): overrides of train.json that make an iteration take milliseconds."""
    decomposer = write_decomposer(tmp_path_factory.mktemp("decomposer"))
    return lambda output_dir, **others: {
        "output_dir": output_dir,
        "ckpt_dir": f"{output_dir}/models",
        "decomposer_path": decomposer,
        "sample_dir": sample_dir,
        "sample_patients": 24,  # as the fixture sample_dir has it
        "sample_size": 64,
        "validation_fraction": 0.4,
        "image_size": 32,
        "batch_size": 4,
        "epoch_length": 3,
        "max_epochs": 2,
        "lr_milestones": "[1]",
        "val_interval": 1,
        "log_interval": 1,
        "save_interval": 2,
        "num_bootstrap": 3,
        **others,
    }


@pytest.fixture(scope="module")
def run(bundle: BundleCommands, root: Path) -> Callable[..., Finished]:
    """run(run_id, *configs, **overrides): a command of this bundle, by names of its configurations."""
    return lambda run_id, *names, **overrides: bundle.run(
        run_id, *(str(root / "configs" / f"{name}.json") for name in names), **overrides
    )


@dataclass(frozen=True)
class Trained:
    overrides: Overrides
    finished: Finished

    @property
    def folder(self) -> Path:
        return Path(self.overrides["output_dir"])

    @property
    def weights(self) -> Path:
        return self.folder / "models" / "model.pt"


@pytest.fixture(scope="module")
def trained(run: Callable[..., Finished], tiny: Callable[..., Overrides], tmp_path_factory: Any) -> Trained:
    """One training for all tests: read its files, do not write into its folder."""
    overrides = tiny(tmp_path_factory.mktemp("classifier"))
    finished = run("training", "train", **overrides)
    assert finished.returncode == 0, finished.stderr
    return Trained(overrides, finished)


def figures(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report" / "figures.json").read_text(encoding="utf-8"))


def scores(folder: Path, part: str) -> list[dict[str, str]]:
    with open(folder / "report" / f"scores_{part}.csv", newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def one_line(stderr: str) -> str:
    errors = [line for line in stderr.strip().splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in stderr, stderr
    return errors[0]


def test_training_writes_weights_scores_and_figures(trained: Trained) -> None:
    said = trained.finished.stdout
    assert f"figures: {trained.folder / 'report' / 'figures.json'}" in said and "not a medical device" in said
    assert "residues: of " in said and "was not trained on this split" in said + trained.finished.stderr
    history = read_history(trained.folder / "history.jsonl")
    assert [row["iteration"] for row in history] == [1, 2, 3, 4, 5, 6]
    assert all("validation/auc" in row and "validation/loss" in row for row in history[2::3])
    told = figures(trained.folder)
    validation, test = scores(trained.folder, "validation"), scores(trained.folder, "test")
    assert told["threshold"] in [float(row["score"]) for row in validation]
    assert not {row["patient_id"] for row in validation} & {row["patient_id"] for row in test}
    assert all((row["label"] == "1") == (row["category"] == "lung_opacity") for row in validation + test)
    settings = read_model_settings(trained.weights)
    assert settings["channels"] == ["image", "residue"] and settings["task"] == "opacity"
    assert settings["threshold"] == told["threshold"] and "auc" in settings["figures"]
    assert not [path for path in trained.folder.rglob(".partial-*") if "cache" not in path.parts]
    load_weights(build_classifier("densenet_small", 2), trained.weights)


def test_same_command_again_trains_no_further(run: Callable[..., Finished], trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    shutil.copytree(trained.folder, folder)
    before = [(folder / name).read_bytes() for name in ("checkpoint.pt", "models/model.pt", "report/figures.json")]
    finished = run("training", "train", **{**trained.overrides, "output_dir": folder, "ckpt_dir": folder / "models"})
    assert finished.returncode == 0 and "at iteration 6" in finished.stdout + finished.stderr
    after = [(folder / name).read_bytes() for name in ("checkpoint.pt", "models/model.pt", "report/figures.json")]
    assert before == after


def test_an_interrupted_training_ends_with_the_same_bits(
    run: Callable[..., Finished], tiny: Callable[..., Overrides], trained: Trained, tmp_path: Path
) -> None:
    assert run("training", "train", **tiny(tmp_path, max_epochs=1)).returncode == 0
    assert run("training", "train", **tiny(tmp_path)).returncode == 0
    one, other = (torch.load(p / "checkpoint.pt", weights_only=True) for p in (trained.folder, tmp_path))
    for part in ("network", "ema"):
        for name, tensor in one[part].items():
            assert torch.equal(tensor, other[part][name]), f"{part} {name}"
    assert one["optimizer"]["param_groups"] == other["optimizer"]["param_groups"]
    assert read_history(tmp_path / "history.jsonl") == read_history(trained.folder / "history.jsonl")
    assert scores(tmp_path, "test") == scores(trained.folder, "test")


def test_evaluating_gives_the_figures_of_the_training_and_leaves_the_model_alone(
    run: Callable[..., Finished], trained: Trained, tmp_path: Path
) -> None:
    before = [trained.weights.read_bytes(), trained.weights.with_suffix(".json").read_bytes()]
    # neither size nor channels are given: they come from the settings beside the weights
    overrides = {k: v for k, v in trained.overrides.items() if k not in ("image_size", "output_dir")}
    assert run("evaluating", "train", "evaluate", **overrides, output_dir=tmp_path).returncode == 0
    assert figures(tmp_path)["rows"] == figures(trained.folder)["rows"]
    assert figures(tmp_path)["threshold"] == figures(trained.folder)["threshold"]
    assert before == [trained.weights.read_bytes(), trained.weights.with_suffix(".json").read_bytes()]
    assert not (tmp_path / "checkpoint.pt").exists()


def test_another_decomposer_is_refused_in_one_line(
    run: Callable[..., Finished], trained: Trained, sample_dir: Path, tmp_path: Path
) -> None:
    other = write_decomposer(tmp_path / "other", seed=1)
    overrides = {**trained.overrides, "output_dir": tmp_path, "decomposer_path": other}
    finished = run("evaluating", "train", "evaluate", **overrides)
    assert finished.returncode == 1 and "the weights were trained with" in one_line(finished.stderr)
    image = next((sample_dir / "images").iterdir())
    given = {"dataset_dir": image, "ckpt_dir": trained.folder / "models", "decomposer_path": other}
    finished = run("run", "inference", **given, output_dir=tmp_path)
    assert finished.returncode == 1 and "the weights were trained with" in one_line(finished.stderr)


def test_image_alone_needs_no_decomposer_and_the_other_task_has_other_labels(
    run: Callable[..., Finished], tiny: Callable[..., Overrides], tmp_path: Path
) -> None:
    overrides = tiny(tmp_path, decomposer_path=tmp_path / "none.pt", channels="['image']", task="abnormality")
    finished = run("training", "train", **{**overrides, "max_epochs": 1})
    assert finished.returncode == 0, finished.stderr
    assert all((row["label"] == "1") == (row["category"] != "normal") for row in scores(tmp_path, "test"))
    settings = read_model_settings(tmp_path / "models" / "model.pt")
    assert settings["decomposer_sha256"] is None and settings["channels"] == ["image"]
    missing = run("training", "train", **{**overrides, "channels": "['residue']", "output_dir": tmp_path / "two"})
    assert missing.returncode == 1 and "none.pt: expected" in one_line(missing.stderr)


def test_few_normals_with_twins(run: Callable[..., Finished], tiny: Callable[..., Overrides], tmp_path: Path) -> None:
    own = {"max_normals": 3, "twin_prob": 0.5, "normal_fraction": 0.25, "max_epochs": 1, "task": "abnormality"}
    finished = run("training", "train", **tiny(tmp_path, **own))
    assert finished.returncode == 0, finished.stderr
    assert "with 3 images without abnormal to train on" in finished.stdout
    assert read_model_settings(tmp_path / "models" / "model.pt")["twin_prob"] == 0.5


def test_head_alone_is_evaluated_as_any_classifier(
    run: Callable[..., Finished], tiny: Callable[..., Overrides], tmp_path: Path
) -> None:
    overrides = {k: v for k, v in tiny(tmp_path).items() if k != "image_size"}
    finished = run("evaluating", "train", "evaluate", "head", **overrides)
    assert finished.returncode == 0, finished.stderr
    told = figures(tmp_path)
    assert told["settings"]["task"] == "abnormality" and told["settings"]["architecture"] == "abnormality_head"
    assert told["model"]["sha256"] and len(scores(tmp_path, "test")) == told["rows"][0]["num_images"]


def test_inference_of_one_file(
    run: Callable[..., Finished], trained: Trained, root: Path, sample_dir: Path, tmp_path: Path
) -> None:
    image = sorted((sample_dir / "images").iterdir())[0]
    overrides = {
        "dataset_dir": str(image),
        "ckpt_dir": str(trained.folder / "models"),
        "decomposer_path": str(trained.overrides["decomposer_path"]),
        "output_dir": str(tmp_path),
    }
    finished = run("run", "inference", **overrides)
    assert finished.returncode == 0, finished.stderr
    told = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    (result,) = told["images"]
    assert result["called"] in ("lung_opacity", "no_lung_opacity") and told["threshold"] is not None
    config = str(root / "configs" / "inference.json")
    workflow = ConfigWorkflow(config, workflow_type="infer", logging_file=False, **overrides)
    hook = sys.excepthook
    workflow.initialize()
    sys.excepthook = hook
    assert workflow.check_properties() == []
    workflow.evaluator.run()  # an application may drive the engine itself
    probability = torch.sigmoid(workflow.evaluator.state.output["pred"])
    assert result["opacity_probability"] == pytest.approx(probability.item(), abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_every_component_exists_and_takes_its_arguments(root: Path, name: str) -> None:
    for place, content in components(json.loads((root / "configs" / f"{name}.json").read_text(encoding="utf-8"))):
        component = ConfigComponent(content, id=place)
        target = locate(component.resolve_module_name())
        assert target is not None, f"{place}: there is no {content['_target_']}"
        arguments = [key for key in content if key not in ConfigComponent.non_arg_keys]
        inspect.signature(target).bind_partial(**dict.fromkeys(arguments))


@pytest.mark.parametrize("name", ["paper", "evaluate", "head"])
def test_overlays_change_what_is_there(root: Path, name: str) -> None:
    parser = ConfigParser()
    parser.read_config(root / "configs" / "train.json")
    for key in json.loads((root / "configs" / f"{name}.json").read_text(encoding="utf-8")):
        assert key == "evaluating" or key in parser, f"{key} is not in train.json"


def test_sample_is_the_one_that_the_decomposer_is_trained_on(root: Path) -> None:
    """Another one is refused in the folder they share, and the decomposer would know some of its test images."""
    both = []
    for bundle in (root, root.parent / "dgm"):
        parser = ConfigParser()
        parser.read_config(bundle / "configs" / "train.json")
        parser["bundle_root"] = str(bundle)
        names = ("sample_patients", "sample_size", "seed", "fold", "validation_fraction")
        both.append([parser.get_parsed_content(name) for name in names])
    assert both[0] == both[1]


def test_train_has_what_the_platforms_tools_look_for(
    root: Path, tiny: Callable[..., Overrides], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", torch.backends.cudnn.deterministic)
    overrides = {k: str(v) if isinstance(v, Path) else v for k, v in tiny(tmp_path).items()}
    config = str(root / "configs" / "train.json")
    workflow = ConfigWorkflow(config, workflow_type="train", logging_file=False, **overrides)
    workflow.initialize()
    assert workflow.check_properties() == []
    for name in ("train_inferer", "train_handlers", "train_preprocessing", "evaluator", "val_interval", "val_inferer"):
        assert getattr(workflow, name) is not None, name


def test_paper_is_a_plain_densenet161_at_224() -> None:
    parser = ConfigParser()
    folder = Path(__file__).resolve().parents[2] / "bundles" / "opacity_classification" / "configs"
    parser.read_config([str(folder / "train.json"), str(folder / "paper.json")])
    told = {"architecture": "densenet161", "image_size": 224, "normal_fraction": None, "train#preprocessing": []}
    assert {name: parser.get_parsed_content(name) for name in told} == told
    assert parser.get_parsed_content("train#inferer").dtype is None
    with torch.device("meta"):
        network = parser.get_parsed_content("network_def")
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(26.47e6, rel=1e-3)


@pytest.mark.parametrize("name", REQUIRED)
def test_required_file(root: Path, name: str) -> None:
    assert (root / name).is_dir() or (root / name).stat().st_size > 0


@pytest.mark.filterwarnings("ignore:No hash value provided")
def test_verify_metadata(root: Path, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"  # a schema that is there is not downloaded
    schema.write_bytes((Path(__file__).with_name("meta_schema.json")).read_bytes())
    verify_metadata(meta_file=str(root / "configs" / "metadata.json"), filepath=schema)


def files(root: Path) -> dict[str, str]:
    configs = root / "configs"
    return {"meta_file": str(configs / "metadata.json"), "config_file": str(configs / "inference.json")}


def test_verify_net_in_out_without_weights_is_the_papers_network(root: Path, tmp_path: Path) -> None:
    verify_net_in_out("network_def", **files(root), device="cpu", bundle_root=str(tmp_path))


def test_weights_of_a_training_are_verified_and_export(root: Path, trained: Trained, tmp_path: Path) -> None:
    own = {"bundle_root": str(root), "ckpt_dir": str(trained.folder / "models")}
    verify_net_in_out("network_def", **files(root), device="cpu", n=2, **own)
    ckpt_export("network_def", tmp_path / "model.ts", trained.weights, **files(root), **own)
    network = load_weights(build_classifier("densenet_small", 2), trained.weights).eval()
    image = torch.rand(2, 2, 64, 64)
    with torch.no_grad():
        exported = torch.jit.load(tmp_path / "model.ts").eval()
        torch.testing.assert_close(exported(image), network(image), rtol=0, atol=1e-5)


def test_commands_of_the_documentation_name_what_there_is(root: Path, repository: Path) -> None:
    found = list(commands((root / "docs" / "README.md").read_text(encoding="utf-8")))
    assert len(found) >= 5
    for _, run_id, *options in found:
        given = dict(zip(options[::2], options[1::2], strict=True))
        paths = given.pop("--config_file")
        parser = ConfigParser()
        parser.read_config([str(repository / path) for path in paths.strip("[]").replace("'", "").split(",")])
        assert run_id in parser, f"no run id {run_id} in {paths}"
        for option in given:
            assert option.removeprefix("--") in parser, f"no key {option} in {paths}"
