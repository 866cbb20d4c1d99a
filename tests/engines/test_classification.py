"""Training and scoring a classifier: what reaches the network, what handlers see, whose score is whose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.decomposed import DecomposedDataset
from monai_dgm.data.manifest import load_manifest
from monai_dgm.data.sampler import BalancedBatchSampler
from monai_dgm.engines.classification import (
    AutocastInferer,
    ClassificationScores,
    ClassifierTrainer,
    PrepareClassification,
)
from monai_dgm.engines.trainer import step_output
from monai_dgm.errors import InputError
from monai_dgm.handlers.history import TrainingHistory


class Mean(nn.Module):
    """Logits that are the mean grey value, times a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, image: Tensor) -> Tensor:
        return self.scale * image.mean(dim=(1, 2, 3))[:, None]


def items(count: int = 12) -> list[dict[str, Any]]:
    return [
        {"image": torch.full((1, 32, 32), float(i % 2)), "label": torch.tensor(float(i % 2)), "index": i}
        for i in range(count)
    ]


def make_trainer(network: nn.Module, max_epochs: int = 2, **settings: Any) -> ClassifierTrainer:
    data = items()
    sampler = BalancedBatchSampler([int(item["label"]) for item in data], 4, epoch_length=3)
    loader = DataLoader(data, batch_sampler=sampler)  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    return ClassifierTrainer("cpu", max_epochs, loader, network, optimizer, nn.BCEWithLogitsLoss(), **settings)


def test_batches_are_varied_in_order_and_labels_are_a_column() -> None:
    def brighter(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**batch, "image": batch["image"] + 1}

    def doubled(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**batch, "image": batch["image"] * 2, "label": 1 - batch["label"]}

    batch = {"image": torch.zeros(3, 2, 4, 4), "label": torch.tensor([0, 1, 1]), "index": torch.arange(3)}
    image, label = PrepareClassification([brighter, doubled])(batch, "cpu")
    assert (image == 2).all() and label.tolist() == [[1.0], [0.0], [0.0]] and label.dtype == torch.float32
    assert image.is_contiguous(memory_format=torch.channels_last)
    assert PrepareClassification(channels_last=False)(batch, "cpu")[0].is_contiguous()


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_network_runs_in_the_asked_precision_and_gives_float32(dtype: torch.dtype | None) -> None:
    network, seen = nn.Linear(4, 1), []
    network.register_forward_hook(lambda *arguments: seen.append(arguments[2].dtype))
    assert AutocastInferer(dtype)(torch.zeros(2, 4), network).dtype == torch.float32
    assert seen == [dtype or torch.float32]


def test_trainer_learns_and_its_output_is_what_handlers_look_for() -> None:
    network, history, outputs = Mean(), TrainingHistory(None, interval=1), []
    trainer = make_trainer(network, 5, train_handlers=[history], inferer=AutocastInferer(torch.bfloat16))
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: outputs.append(step_output(engine)))
    trainer.run()
    assert len(outputs) == 15 and len(trainer.state.output) == 1
    assert set(outputs[0]) == {"image", "label", "pred", "loss"} and outputs[0]["loss"].dim() == 0
    assert not any(value.requires_grad for value in outputs[0].values())
    losses = [row["loss/loss"] for row in history.rows]
    assert losses[-1] < 0.8 * losses[0] and network.scale > 1.5


def test_loader_draws_nothing_from_the_random_state_of_the_training() -> None:
    trainer = make_trainer(Mean())
    before = torch.get_rng_state()
    trainer.run()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def dataset(sample_dir: Path, tmp_path: Path) -> DecomposedDataset:
    radiographs = RadiographDataset(load_manifest(sample_dir)[:7], 32, tmp_path / "cache")
    return DecomposedDataset(radiographs, channels=("image",))


def score(dataset: DecomposedDataset, network: nn.Module, shuffle: bool = False) -> tuple[ClassificationScores, Any]:
    scores = ClassificationScores(dataset)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(dataset, batch_size=3, shuffle=shuffle),
        network=network,
        prepare_batch=PrepareClassification(),
        key_val_metric={"auc": scores},
        decollate=False,
    )
    evaluator.run()
    return scores, evaluator.state


def test_every_image_gets_its_own_score(dataset: DecomposedDataset) -> None:
    scores, state = score(dataset, Mean())
    records = scores.records
    assert [record.image_id for record in records] == [item["image_id"] for item in dataset.items]
    assert [record.label for record in records] == [item["label"] for item in dataset.items]
    means = torch.stack([dataset[i]["image"].mean() for i in range(7)])
    torch.testing.assert_close(torch.tensor([record.score for record in records]), torch.sigmoid(means))
    above = [a > b for a in means[dataset.labels == 1] for b in means[dataset.labels == 0]]
    assert state.best_metric == pytest.approx(sum(above) / len(above))
    assert records[0].category in ("normal", "lung_opacity", "other_abnormal") and records[0].patient_id


def test_a_second_run_starts_anew(dataset: DecomposedDataset) -> None:
    scores = ClassificationScores(dataset)
    for _ in range(2):
        scores.reset()
        scores.update((torch.zeros(7, 1), dataset.labels[:, None]))
    assert len(scores.records) == 7


def test_images_in_another_order_and_logits_that_are_no_numbers_are_refused(dataset: DecomposedDataset) -> None:
    scores = ClassificationScores(dataset)
    with pytest.raises(ValueError, match="the images of the data set in their order"):
        scores.update((torch.zeros(3, 1), 1 - dataset.labels[:3, None]))
    with pytest.raises(InputError, match="expected finite values from the classifier"):
        scores.update((torch.full((3, 1), torch.nan), dataset.labels[:3, None]))
