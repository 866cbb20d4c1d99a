"""Supervised training: what reaches the network, in which precision, and what handlers see."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ignite.engine import Events
from torch import Tensor, nn
from torch.utils.data import DataLoader

from monai_dgm.data.sampler import BalancedBatchSampler
from monai_dgm.engines.training.supervised import AutocastInferer, PrepareTransformedBatch, ResumableTrainer
from monai_dgm.engines.training.trainer import step_output
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


def make_trainer(network: nn.Module, max_epochs: int = 2, **settings: Any) -> ResumableTrainer:
    data = items()
    sampler = BalancedBatchSampler([int(item["label"]) for item in data], 4, epoch_length=3)
    loader = DataLoader(data, batch_sampler=sampler)  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    return ResumableTrainer("cpu", max_epochs, loader, network, optimizer, nn.BCEWithLogitsLoss(), **settings)


def test_batches_are_varied_in_order_and_labels_are_a_column() -> None:
    def brighter(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**batch, "image": batch["image"] + 1}

    def doubled(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**batch, "image": batch["image"] * 2, "label": 1 - batch["label"]}

    batch = {"image": torch.zeros(3, 2, 4, 4), "label": torch.tensor([0, 1, 1]), "index": torch.arange(3)}
    image, label = PrepareTransformedBatch([brighter, doubled])(batch, "cpu")
    assert (image == 2).all() and label.tolist() == [[1.0], [0.0], [0.0]] and label.dtype == torch.float32
    assert image.is_contiguous(memory_format=torch.channels_last)
    assert PrepareTransformedBatch(channels_last=False)(batch, "cpu")[0].is_contiguous()


def test_batches_are_varied_together_and_laid_out() -> None:
    batch = {"image": torch.rand(2, 1, 8, 8), "label": torch.ones(2, 1, 8, 8), "index": torch.arange(2)}

    def halve(given: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"image": given["image"] / 2, "label": given["label"] * 0}

    image, label = PrepareTransformedBatch([halve, halve])(batch, "cpu")
    assert torch.equal(image, batch["image"] / 4) and not label.any()
    assert image.is_contiguous(memory_format=torch.channels_last)
    image, label = PrepareTransformedBatch()(batch, "cpu")
    assert torch.equal(image, batch["image"]) and torch.equal(label, batch["label"])


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
