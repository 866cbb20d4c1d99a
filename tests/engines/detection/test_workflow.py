"""Training and running a detector: it learns, NaN and batches without boxes do not break it, records are complete."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Events
from torch import Tensor, nn
from torch.utils.data import DataLoader

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.decomposed import DecomposedDataset
from monai_dgm.data.manifest import load_manifest
from monai_dgm.data.opacity_boxes import OpacityBoxDataset, collate_boxes
from monai_dgm.data.sampler import BalancedBatchSampler
from monai_dgm.engines.detection.workflow import (
    DetectionEvaluator,
    DetectionStep,
    OpacityDetections,
    prepare_detection_batch,
)
from monai_dgm.engines.training.trainer import StepTrainer
from monai_dgm.errors import InputError
from monai_dgm.networks.detector import OpacityDetector
from monai_dgm.transforms.augmentation import RandRadiographAugmentation

SIZE = 32
NONE = torch.zeros(0, 4)


@pytest.fixture(scope="module")
def dataset(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> OpacityBoxDataset:
    """All simulated radiographs, with and without opacities."""
    radiographs = RadiographDataset(load_manifest(sample_dir), SIZE, tmp_path_factory.mktemp("cache"))
    return OpacityBoxDataset(DecomposedDataset(radiographs, None, ("image",)))


def tiny() -> OpacityDetector:
    torch.manual_seed(0)
    return OpacityDetector(1, "resnet18", SIZE, width=0.125, fpn_channels=16)


def step_of(network: nn.Module, **others: object) -> DetectionStep:
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    return DetectionStep(network, optimizer, **others)  # type: ignore[arg-type]


def batch_of(*boxes: Tensor) -> dict[str, object]:
    torch.manual_seed(1)
    return {"image": torch.rand(len(boxes), 1, SIZE, SIZE) * 2 - 1, "boxes": list(boxes)}


BOX = torch.tensor([[4.0, 6.0, 14.0, 22.0]])


def loader(dataset: OpacityBoxDataset, negative_fraction: float | None, epoch_length: int) -> DataLoader:
    sampler = BalancedBatchSampler(dataset.has_boxes, 4, negative_fraction, epoch_length=epoch_length)
    return DataLoader(dataset, batch_sampler=sampler, collate_fn=collate_boxes)


def test_the_loss_falls() -> None:
    step, batch = step_of(tiny()), batch_of(BOX, NONE, BOX + 8)
    losses = [step(batch) for _ in range(25)]
    first, last = (float(np.mean([one["loss"].item() for one in part])) for part in (losses[:3], losses[-3:]))
    assert last < 0.7 * first
    assert all(set(one) == {"loss", "classification", "box_regression", "grad_norm", "skipped"} for one in losses)
    assert all(value.dim() == 0 and not value.requires_grad for one in losses for value in one.values())
    assert sum(one["skipped"].item() for one in losses) == step.num_skipped == 0


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def spoil_logits(network: OpacityDetector) -> Callable[[], object]:
    """NaN logits until the returned function is called."""
    head = network.network.classification_head.cls_logits
    return head.register_forward_hook(lambda module, args, output: output * float("nan")).remove


def spoil_gradients(network: OpacityDetector) -> Callable[[], object]:
    """Infinite gradients of finite losses."""
    parameter = network.network.regression_head.bbox_reg.bias
    return parameter.register_hook(lambda gradient: gradient * float("inf")).remove


@pytest.mark.parametrize("spoil", [spoil_logits, spoil_gradients])
def test_a_step_that_is_not_finite_is_skipped(
    spoil: Callable[[OpacityDetector], Callable[[], object]], caplog: pytest.LogCaptureFixture
) -> None:
    network = tiny().train()
    step, batch = step_of(network), batch_of(BOX, NONE)
    good = step(batch)
    before, mend = state(network), spoil(network)
    with caplog.at_level(logging.WARNING):
        skipped = step(batch)
    assert skipped["skipped"].item() == 1 and skipped["loss"] == good["loss"]
    assert "step skipped" in caplog.text and step.num_skipped == 1
    assert all(torch.equal(value, before[name]) for name, value in state(network).items())
    mend()
    assert step(batch)["skipped"].item() == 0
    assert not torch.equal(
        state(network)["network.classification_head.cls_logits.bias"],
        before["network.classification_head.cls_logits.bias"],
    )


def test_the_very_first_step_may_be_skipped() -> None:
    network = tiny().train()
    spoil_logits(network)
    assert step_of(network)(batch_of(BOX, NONE))["loss"].item() == 0


def test_a_training_beyond_help_ends_with_a_line() -> None:
    network = tiny().train()
    spoil_logits(network)
    step = step_of(network, max_skipped=3)
    with pytest.raises(InputError, match="training diverged: 3 steps in a row were not finite"):
        for _ in range(3):
            step(batch_of(BOX, NONE))


def test_errors_of_another_kind_are_not_swallowed() -> None:
    with pytest.raises(ValueError, match="boxes"):
        step_of(tiny().train())(batch_of(BOX[:, [2, 1, 0, 3]], NONE))


@pytest.mark.parametrize("negative_fraction", [1.0, None, 0.5])
def test_epochs_of_any_mixture(dataset: OpacityBoxDataset, negative_fraction: float | None) -> None:
    network = tiny()
    step = step_of(
        network,
        batch_transforms=[RandRadiographAugmentation(("image",), prob=0.95)],
        autocast=torch.bfloat16,
        max_grad_norm=5.0,
    )
    rows = []
    trainer = StepTrainer("cpu", 2, loader(dataset, negative_fraction, 3), step, prepare_batch=prepare_detection_batch)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: rows.append(engine.state.output[0]))
    trainer.run()
    assert trainer.state.iteration == 6 and step.num_skipped == 0
    assert all(np.isfinite(row["loss"].item()) for row in rows)
    assert any(row["box_regression"].item() > 0 for row in rows) == (negative_fraction != 1.0)
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


def test_batches_come_to_the_device_whole() -> None:
    batch = prepare_detection_batch({**batch_of(BOX, NONE), "index": torch.arange(2)}, "cpu")
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch["boxes"][0], BOX) and batch["index"].tolist() == [0, 1]


class Oracle(nn.Module):
    """Knows the truth of the data set's images by their sum; may be made to fail."""

    def __init__(self, dataset: OpacityBoxDataset, fails: bool = False) -> None:
        super().__init__()
        self.dataset, self.fails = dataset, fails
        self.sums = torch.stack([dataset[i]["image"].sum() for i in range(len(dataset))])

    def detect(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        assert not self.training
        if self.fails:
            raise FloatingPointError("the detector's maps are not finite")
        places = [int((self.sums - image.sum()).abs().argmin()) for image in images]
        return [(self.dataset.boxes[i], torch.full((len(self.dataset.boxes[i]),), 0.9)) for i in places]


def evaluate(dataset: OpacityBoxDataset, network: nn.Module, **others: object) -> OpacityDetections:
    detections = OpacityDetections(dataset)
    batches = DataLoader(dataset, batch_size=5, collate_fn=collate_boxes)
    DetectionEvaluator("cpu", batches, network, detections, **others).run()  # type: ignore[arg-type]
    return detections


def test_who_knows_the_truth_has_all_of_it(dataset: OpacityBoxDataset) -> None:
    detections = evaluate(dataset, Oracle(dataset))
    assert [record.image_id for record in detections.results] == [item["image_id"] for item in dataset.items]
    assert detections.compute()["ap"] == 1 and detections.metrics is not None
    assert detections.metrics.num_positive_images == sum(dataset.has_boxes)


def test_nan_while_validating_does_not_end_a_training(
    dataset: OpacityBoxDataset, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        detections = evaluate(dataset, Oracle(dataset, fails=True))
    assert len(detections.results) == len(dataset) and detections.compute()["ap"] == 0
    assert "count as nothing found" in caplog.text


def test_nan_while_testing_is_an_error(dataset: OpacityBoxDataset) -> None:
    with pytest.raises(InputError, match="not finite: are the weights sound"):
        evaluate(dataset, Oracle(dataset, fails=True), strict=True)


def test_data_without_any_box_has_no_average_precision(dataset: OpacityBoxDataset) -> None:
    items = [item for item in dataset.items if not len(item["opacity_boxes"])]
    radiographs = RadiographDataset(items, SIZE, Path(dataset.dataset.dataset._cached.path).parent)
    bare = OpacityBoxDataset(DecomposedDataset(radiographs, None, ("image",)))
    metrics = evaluate(bare, Oracle(bare)).compute()
    assert "ap" not in metrics and metrics["false_positives"] == 0


def test_a_detector_finds_what_it_was_taught(dataset: OpacityBoxDataset) -> None:
    """The real network through the real evaluator: shapes and types fit."""
    detections = evaluate(dataset, tiny())
    assert len(detections.results) == len(dataset)
    assert all(record.boxes.shape == (len(record.scores), 4) for record in detections.results)
