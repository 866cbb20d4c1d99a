"""Evaluation: what is recorded of an image, which figures come out, and by which one a model is chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Events
from torch import Tensor, nn
from torch.utils.data import DataLoader

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.manifest import load_manifest
from monai_dgm.data.sources import fit_baselines
from monai_dgm.engines.decomposition.evaluator import (
    DecompositionEvaluator,
    DecompositionMetrics,
    as_prediction,
    result_of,
)
from monai_dgm.networks.decomposer import Decomposer
from monai_dgm.networks.dgm import DGM

SIZE = 32


@pytest.fixture(scope="module")
def dataset(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> RadiographDataset:
    """Twelve simulated radiographs, half of them with opacities, and one of which only the label is known."""
    items = load_manifest(sample_dir)
    chosen = [item for item in items if item["category"] == "lung_opacity"][:6]
    chosen += [item for item in items if item["label"] == 0][:6]
    others = [item for item in items if all(item is not known for known in chosen)]
    bare = {name: others[0][name] for name in ("image", "image_id", "patient_id", "label")}
    return RadiographDataset([*chosen, bare], SIZE, tmp_path_factory.mktemp("cache"))


class Oracle(nn.Module):
    """Knows the truth of the data set's images by their mean."""

    def __init__(self, dataset: RadiographDataset, invert: bool = False) -> None:
        super().__init__()
        self.dataset, self.invert = dataset, invert
        self.means = torch.stack([dataset[i]["image"].mean() for i in range(len(dataset))])

    def forward(self, image: Tensor) -> Tensor:
        assert not self.training
        return torch.stack([self._one(z) for z in image])

    def _one(self, z: Tensor) -> Tensor:
        index = int((self.means - z.mean()).abs().argmin())
        normal = self.dataset.truth(index).get("normal")
        normal = z if normal is None else torch.from_numpy(normal)
        label = self.dataset.labels[index]
        return torch.cat((normal, z - normal, torch.full_like(z, float(1 - label if self.invert else label))))


def evaluate(dataset: RadiographDataset, network: nn.Module, **metrics: object) -> DecompositionEvaluator:
    loader = DataLoader(dataset, batch_size=5)
    evaluator = DecompositionEvaluator(
        "cpu", loader, network, DecompositionMetrics(dataset, num_bootstrap=3, **metrics)
    )
    evaluator.run()
    return evaluator


@pytest.fixture(scope="module")
def perfect(dataset: RadiographDataset) -> tuple[DecompositionEvaluator, DecompositionMetrics]:
    metrics = DecompositionMetrics(dataset, fit_baselines(dataset), num_bootstrap=3)
    evaluator = DecompositionEvaluator("cpu", DataLoader(dataset, batch_size=5), Oracle(dataset), metrics)
    evaluator.run()
    return evaluator, metrics


def test_a_dgm_and_its_decomposer_give_the_same_prediction() -> None:
    dgm = DGM(base_width=2, num_res_blocks=1).eval()
    image = torch.rand(2, 1, SIZE, SIZE) * 2 - 1
    with torch.no_grad():
        outputs = dgm(image)
        prediction = as_prediction(outputs)
        torch.testing.assert_close(prediction, as_prediction(Decomposer.from_dgm(dgm)(image)), rtol=0, atol=1e-5)
    assert torch.equal(prediction[:, :1], outputs["normal"]) and torch.equal(prediction[:, 1:2], outputs["residue"])
    assert torch.equal(prediction[:, 2, 0, 0], torch.sigmoid(outputs["abnormality_logit"][:, 0]))


def test_record_carries_the_truth_that_is_known(dataset: RadiographDataset) -> None:
    image, prediction = dataset[0]["image"], torch.rand(3, SIZE, SIZE)
    record, truth = result_of(dataset, 0, image, prediction), dataset.truth(0)
    assert (record.image_id, record.patient_id) == (dataset.items[0]["image_id"], dataset.items[0]["patient_id"])
    assert (record.label, record.category, record.source) == (1, "lung_opacity", "simulated")
    assert record.probability == float(prediction[2, 0, 0])
    assert np.array_equal(record.opacity_mask, truth["opacity_mask"])
    assert np.array_equal(record.true_normal, truth["normal"][0])
    assert np.array_equal(record.residue, prediction[1].numpy())


def test_record_of_an_image_of_which_only_the_label_is_known(dataset: RadiographDataset) -> None:
    last = len(dataset) - 1
    record = result_of(dataset, last, dataset[last]["image"], torch.zeros(3, SIZE, SIZE))
    assert record.true_normal is None and record.opacity_mask is None and record.lung_mask is None
    assert record.opacity_area() is None and record.source == "unknown"
    assert record.category == ("abnormal" if record.label else "normal")


def test_perfect_decomposition_has_perfect_figures(
    perfect: tuple[DecompositionEvaluator, DecompositionMetrics],
) -> None:
    metrics = perfect[0].state.metrics
    assert metrics["head_auc"] == 1 and metrics["normal_ssim"] == pytest.approx(1, abs=1e-3)
    assert metrics["lesion_error_reduction"] == pytest.approx(1, abs=1e-3)
    assert metrics["residue_mean_normal"] == pytest.approx(0, abs=1e-4)
    assert metrics["residue_mean_abnormal"] > 0.005
    assert metrics["residue_pixel_ap"] > metrics["residue_pixel_ap/baseline_lung_mask"]
    assert "residue_pixel_ap/baseline_mean_box_prior" in metrics


def test_every_image_is_recorded_once_and_in_order(
    perfect: tuple[DecompositionEvaluator, DecompositionMetrics], dataset: RadiographDataset
) -> None:
    records = perfect[1].results
    assert [record.image_id for record in records] == [str(item["image_id"]) for item in dataset.items]
    groups = {row.group for row in perfect[1].rows}
    assert groups == {"all", "source:simulated", "source:unknown"}


def test_models_are_chosen_by_the_mean_of_what_labels_alone_tell(
    perfect: tuple[DecompositionEvaluator, DecompositionMetrics],
) -> None:
    state = perfect[0].state
    parts = [state.metrics[name] for name in ("head_auc", "residue_auc", "normal_ssim")]
    assert state.key_metric_name == "decomposition"
    assert state.best_metric == state.metrics["decomposition"] == pytest.approx(sum(parts) / 3)


def test_best_epoch_is_kept_when_a_worse_one_follows(dataset: RadiographDataset) -> None:
    evaluator = evaluate(dataset, Oracle(dataset))
    best = evaluator.state.best_metric
    evaluator.network = Oracle(dataset, invert=True)
    evaluator.run(2)  # as MONAI's ValidationHandler calls it
    assert evaluator.state.metrics["head_auc"] == 0
    assert evaluator.state.best_metric == best and evaluator.state.best_metric_epoch == 1
    # nothing of the first run is left in the second's figures
    assert evaluator.state.metrics["decomposition"] < best


def test_a_class_that_is_absent_leaves_its_figures_out(dataset: RadiographDataset, tmp_path: Path) -> None:
    normals = RadiographDataset([item for item in dataset.items if item["label"] == 0], SIZE, tmp_path)
    metrics = evaluate(normals, Oracle(normals)).state.metrics
    assert "head_auc" not in metrics and "residue_pixel_ap" not in metrics
    assert metrics["decomposition"] == metrics["normal_ssim"]


def test_runs_in_evaluation_mode_without_gradients_whole_batch_by_whole_batch(dataset: RadiographDataset) -> None:
    network = Decomposer(2, 1).train()
    shapes: list[tuple[int, ...]] = []
    metrics = DecompositionMetrics(dataset, num_bootstrap=2)
    evaluator = DecompositionEvaluator("cpu", DataLoader(dataset, batch_size=5), network, metrics)

    def look(engine: DecompositionEvaluator) -> None:
        output = engine.state.output
        shapes.append(tuple(output["pred"].shape))
        assert not network.training and not output["pred"].requires_grad
        assert torch.equal(output["image"][0], dataset[int(output["index"][0])]["image"])

    evaluator.add_event_handler(Events.ITERATION_COMPLETED, look)
    evaluator.run()
    assert shapes == [(5, 3, SIZE, SIZE), (5, 3, SIZE, SIZE), (3, 3, SIZE, SIZE)]


def test_maps_of_classifiers_are_baselines_with_paired_differences(dataset: RadiographDataset) -> None:
    """One that knows the opacities is as good as the true residue, one that is blank is not; normals need none."""
    asked: list[int] = []

    def blank(images: Tensor) -> np.ndarray:
        asked.append(len(images))
        return np.zeros((len(images), SIZE, SIZE), np.float32)

    oracle = Oracle(dataset)
    knowing = {"grad_cam_head": lambda images: oracle(images)[:, 1].abs().numpy(), "grad_cam_classifier": blank}
    metrics = evaluate(dataset, oracle, class_maps=knowing).state.metrics
    assert sum(asked) == sum(
        "opacity_mask" in dataset.truth(i) and dataset.truth(i)["opacity_mask"].any() for i in range(len(dataset))
    )
    for name in ("residue_pixel_ap", "pointing_game"):
        assert metrics[f"{name}/above_grad_cam_head"] == pytest.approx(0, abs=1e-6)
        expected = metrics[name] - metrics[f"{name}/baseline_grad_cam_classifier"]
        assert metrics[f"{name}/above_grad_cam_classifier"] == pytest.approx(expected) and expected > 0.3
