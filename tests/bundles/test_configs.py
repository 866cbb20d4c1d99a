"""The bundle's configurations: every component exists, the platform's tools find their ids, the paper is followed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle.utils import DEFAULT_HANDLERS_ID

from monai_dgm.data.sources import Splits
from monai_dgm.handlers.history import read_history
from monai_dgm.losses.objective import ObjectiveWeights
from monai_dgm.networks.blocks import InstanceNorm
from monai_dgm.transforms.augmentation import RandRadiographAugmentation
from monai_dgm.transforms.lung_opacity import RandLungOpacity
from monai_dgm.transforms.superimpose import RandSuperimposeOpacity
from monai_dgm.transforms.truth_augmentation import RandTruthAugmentation
from tests.bundles.small_trainings import Tiny, check_commands, check_components, check_train_workflow
from tests.networks.test_residue_system import Blurring, write

if TYPE_CHECKING:
    from tests.bundles.conftest import BundleCommands
    from tests.bundles.small_trainings import Trained

SYSTEMS = ("vagan", "cyclegan", "munit", "drit", "aeu", "ddad")
NAMES = ("train", "evaluate", "inference", "multi_gpu_train", "paper", *SYSTEMS)


@pytest.fixture(scope="module")
def configs(repository: Path) -> Path:
    return repository / "bundles" / "dgm" / "configs"


@pytest.mark.parametrize("name", NAMES)
def test_every_component_exists_and_takes_its_arguments(configs: Path, name: str) -> None:
    check_components(configs / f"{name}.json")


@pytest.mark.parametrize(
    ("names", "network"), [(("inference",), "network_def"), (("train", "evaluate"), "test#network_def")]
)
def test_any_residue_system_is_run_and_evaluated(
    configs: Path, tmp_path: Path, names: tuple[str, ...], network: str
) -> None:
    parser = ConfigParser()
    parser.read_config([str(configs / f"{name}.json") for name in names])
    parser["model_path"] = str(write(Blurring(5), tmp_path / "model.pt"))
    built = parser.get_parsed_content(network)
    assert isinstance(built, Blurring) and built.network_settings() == {"kernel": 5}


def test_train_has_what_the_platforms_tools_look_for(configs: Path, tiny: Tiny, unhooked: None, tmp_path: Path) -> None:
    workflow = check_train_workflow(configs.parent, tiny(tmp_path))
    assert workflow.max_epochs == 2 and len(workflow.train_dataset) > 10
    for place in DEFAULT_HANDLERS_ID["trainer"], DEFAULT_HANDLERS_ID["validator"]:
        # tracking appends its handler to this list, in the configuration
        assert isinstance(workflow.parser[place["handlers"]], list) and place["id"] in workflow.parser


def test_inference_has_what_the_platforms_tools_look_for(
    bundle: BundleCommands, configs: Path, trained: Trained, sample_dir: Path, unhooked: None, tmp_path: Path
) -> None:
    """An application may drive the engine itself; it gets the same numbers as the command."""
    image = sorted((sample_dir / "images").iterdir())[0]
    overrides = {"dataset_dir": str(image), "ckpt_dir": str(trained.models), "output_dir": str(tmp_path)}
    config = str(configs / "inference.json")
    workflow = ConfigWorkflow(config, workflow_type="infer", logging_file=False, **overrides)
    workflow.initialize()
    assert workflow.check_properties() == []
    assert workflow.spatial_shape == ["32*n", "32*n"] and workflow.channel_def["1"] == "residue"
    item = workflow.preprocessing({"image": str(image)})
    assert item["image"].shape == (1, 32, 32) and item["geometry"].rows == 64
    workflow.evaluator.run()
    (result,) = workflow.evaluator.state.output["pred"]
    assert bundle.run("run", "inference", **overrides).returncode == 0
    (scores,) = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))["images"]
    assert scores["abnormality_probability"] == pytest.approx(result.decomposition.probability, abs=1e-4)


@pytest.fixture
def paper(configs: Path) -> ConfigParser:
    """The paper's protocol as it stands."""
    parser = ConfigParser()
    parser.read_config([str(configs / "train.json"), str(configs / "paper.json")])
    return parser


@pytest.fixture
def small_paper(paper: ConfigParser) -> ConfigParser:
    """The same with a network that is made in no time."""
    paper.update({"base_width": 2, "image_size": 32})
    return paper


@pytest.mark.parametrize("supervision", ["labels", "boxes"])
def test_what_a_training_learns_from_is_one_key(configs: Path, supervision: str) -> None:
    """With boxes: a masked composition, terms of boxes, opacities in the own lungs; with labels none of it."""
    parser = ConfigParser()
    parser.read_config([str(configs / "train.json")])
    parser.update({"base_width": 2, "image_size": 32, "dataset_dir": "folder", "supervision": supervision})
    with torch.device("meta"):
        network = parser.get_parsed_content("network_def")
    objective, transforms = (parser.get_parsed_content(name) for name in ("objective", "train#batch_transforms"))
    boxed = supervision == "boxes"
    assert network.masked is boxed and (network.joint_decoder is None) is boxed
    weights = objective.weights
    assert (weights.box_outside > 0, weights.box_inside > 0, weights.lesion_mask > 0) == 3 * (boxed,)
    assert (weights.evidence > 0, weights.paired_residue > 0, objective.needs_second_pass) == 3 * (not boxed,)
    kinds = [RandTruthAugmentation, RandLungOpacity] if boxed else [RandRadiographAugmentation, RandSuperimposeOpacity]
    assert [type(transform) for transform in transforms] == kinds


@pytest.mark.parametrize(("overlays", "supervision"), [([], "boxes"), (["paper"], "labels"), (["boxes"], "boxes")])
def test_boxes_are_learned_from_where_there_are_some(configs: Path, overlays: list[str], supervision: str) -> None:
    boxed = {"image": "a", "label": 1, "opacity_boxes": [[0, 0, 5, 5]]}
    for dataset_dir, item, expected in (
        ("folder", boxed, supervision),
        ("folder", {"image": "a", "label": 1}, "boxes" if overlays == ["boxes"] else "labels"),
        (None, boxed, "boxes" if overlays == ["boxes"] else "labels"),  # the embedded sample
    ):
        parser = ConfigParser()
        parser.read_config([str(configs / f"{name}.json") for name in ("train", *overlays)])
        parser.update({"splits": Splits([item], [], [], "made up"), "dataset_dir": dataset_dir})
        assert parser.get_parsed_content("supervision") == expected


def test_weights_trained_without_boxes_say_so(configs: Path) -> None:
    parser = ConfigParser()
    parser.read_config([str(configs / f"{name}.json") for name in ("train", "boxes", "labels")])
    assert not parser.get_parsed_content("train#dataset#with_boxes")
    assert parser.get_parsed_content("model_settings#supervision") == "labels"


def test_unknown_supervision_is_refused(configs: Path) -> None:
    parser = ConfigParser()
    parser.read_config(str(configs / "train.json"))
    parser.update({"supervision": "masks"})
    with pytest.raises(RuntimeError, match="Failed to evaluate") as caught:
        parser.get_parsed_content("chosen")
    assert "supervision: expected labels or boxes, got 'masks'" in str(caught.value.__cause__)


def test_paper_is_the_papers_protocol(paper: ConfigParser) -> None:
    # section 5.1: 224 x 224, batch size 1, 30 epochs, learning rate 1e-5
    told = {"image_size": 224, "batch_size": 1, "max_epochs": 30, "learning_rate": 1e-5}
    told["discriminator#optimizer#lr"] = 1e-5
    # not in the paper: balanced batches, opacities of our own, augmentation, a warm-up of one branch
    told.update({"normal_fraction": None, "train#batch_transforms": [], "warm_up_iterations": 0})
    assert {name: paper.get_parsed_content(name) for name in told} == told


def test_papers_networks_are_tables_1_and_2(paper: ConfigParser) -> None:
    with torch.device("meta"):
        dgm = paper.get_parsed_content("network_def")
        discriminator = paper.get_parsed_content("discriminator#network_def")
    assert sum(p.numel() for p in dgm.residue_encoder.parameters()) == pytest.approx(21.70e6, rel=1e-3)
    assert dgm.joint_decoder is not None
    content = paper["network_def"]
    assert content["normal_skips"] is False and content["residue_skips"] is False
    # the cited pix2pixHD: three stride-2 and one stride-1 layers, a 4 x 4 output layer, norm but for first and last
    for scale in discriminator.scales:
        convolutions = [module for module in scale if isinstance(module, torch.nn.Conv2d)]
        assert [(c.out_channels, c.kernel_size[0], c.stride[0]) for c in convolutions] == [
            (64, 4, 2), (128, 4, 2), (256, 4, 2), (512, 4, 1), (1, 4, 1)
        ]  # fmt: skip
        assert sum(isinstance(module, InstanceNorm) for module in scale) == 3


def test_papers_objective_is_eq_6_and_nothing_else(small_paper: ConfigParser) -> None:
    objective = small_paper.get_parsed_content("objective")
    assert objective.weights == ObjectiveWeights(adversarial=10, reconstruction=10, total_variation=1, abnormality=1)
    assert objective.weights == ObjectiveWeights() and not objective.needs_second_pass


def test_papers_optimisers_and_schedule(small_paper: ConfigParser) -> None:
    for prefix in ("", "discriminator#"):
        optimizer = small_paper.get_parsed_content(f"{prefix}optimizer")
        assert type(optimizer) is torch.optim.Adam
        assert tuple(optimizer.defaults["betas"]) == (0.5, 0.999) and optimizer.defaults["weight_decay"] == 1e-4
        scheduler = small_paper.get_parsed_content(f"{prefix}lr_scheduler")
        rates = []
        for _ in range(30):
            rates += scheduler.get_last_lr()
            optimizer.step()
            scheduler.step()
        assert rates == pytest.approx([1e-5] * 10 + [5e-6] * 10 + [2.5e-6] * 10)


def test_papers_step_is_full_precision_without_clipping(small_paper: ConfigParser) -> None:
    step = small_paper.get_parsed_content("train#step")
    assert step.autocast is None and step.max_grad_norm is None and not step.batch_transforms and step.r1_weight == 0


def test_paper_runs(bundle: BundleCommands, tiny: Tiny, tmp_path: Path) -> None:
    own = ("batch_size", "warm_up_iterations", "num_res_blocks")
    overrides = {name: value for name, value in tiny(tmp_path).items() if name not in own}
    finished = bundle.run("training", "train", "paper", **{**overrides, "epoch_length": 2, "max_epochs": 1})
    assert finished.returncode == 0, finished.stderr
    settings = json.loads((tmp_path / "models" / "model.json").read_text(encoding="utf-8"))
    assert settings["batch_size"] == 1 and settings["normal_skips"] is False and settings["residue_skips"] is False
    terms = {"loss/adversarial", "loss/reconstruction", "loss/joint_reconstruction", "loss/blank_residue"}
    terms |= {"loss/total_variation", "loss/abnormality", "loss/discriminator"}
    history = read_history(tmp_path / "history.jsonl")
    assert len(history) == 2 and all(terms <= set(row) for row in history)
    weighted = {"adversarial": 10, "reconstruction": 10, "joint_reconstruction": 10, "blank_residue": 10}
    weighted.update(total_variation=1, abnormality=1)
    for row in history:
        assert row["loss/loss"] == pytest.approx(sum(k * row[f"loss/{name}"] for name, k in weighted.items()), rel=1e-4)
        assert not {"loss/paired_residue", "loss/evidence", "loss/clean_normal"} & set(row)


@pytest.mark.parametrize("page", ["README.md", "bundles/dgm/docs/README.md"])
def test_commands_of_the_documentation_name_what_there_is(repository: Path, page: str) -> None:
    check_commands(repository / page, repository, 5)
