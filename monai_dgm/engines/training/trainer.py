"""MONAI's trainer around one training step, and what makes a resumed training repeat itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines import Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from monai_dgm.engines.training.steps import ResidueWarmUp, TrainingStep

__all__ = ["PrepareTrainingBatch", "StepTrainer", "resumable", "step_output"]

TRUTH = ("box_weight", "complete", "category", "lungs")
"""What a batch of :class:`monai_dgm.data.truth_dataset.TruthDataset` has in addition to images and labels."""


def resumable(device: torch.device | str, train_data_loader: DataLoader) -> dict[str, Any]:
    """Arguments for MONAI's trainers with which a resumed training repeats the uninterrupted one.

    A loader without a generator gets one. Otherwise each new iterator draws a seed from torch's global state, and a
    resumed training makes one iterator more.

    Args:
        device: where the networks are.
        train_data_loader: gets the generator.
    """
    if train_data_loader.generator is None:
        train_data_loader.generator = torch.Generator()
    device = torch.device(device)
    length = len(train_data_loader)
    return {"device": device, "epoch_length": length, "non_blocking": device.type == "cuda", "decollate": False}


class PrepareTrainingBatch:
    """Move a batch to the device and separate the images that only the discriminator sees.

    Args:
        num_real: R, the number of normal images at the end of each batch that only the discriminator sees.
        channels_last: memory format of the images.
    """

    def __init__(self, num_real: int = 0, channels_last: bool = False) -> None:
        self.num_real = num_real
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def __call__(
        self, batch: Mapping[str, Tensor], device: torch.device | str, non_blocking: bool = False
    ) -> dict[str, Tensor]:
        """Prepare one batch.

        Args:
            batch: ``image`` (B + R, 1, S, S) in [-1, 1] and ``label`` (B + R,), and any of :data:`TRUTH`; the last R
                images are normal.
            device, non_blocking: as in ``Tensor.to``.

        Returns:
            ``image``, ``label`` and :data:`TRUTH` of the first B images, and ``real_normal`` (R, 1, S, S) where R > 0.
        """
        image = batch["image"].to(device, non_blocking=non_blocking, memory_format=self.memory_format)
        label = batch["label"].to(device, non_blocking=non_blocking).float()
        truth = {name: batch[name].to(device, non_blocking=non_blocking) for name in TRUTH if name in batch}
        if self.num_real == 0:
            return {"image": image, "label": label, **truth}
        count = len(image) - self.num_real
        own = {name: value[:count] for name, value in {"image": image, "label": label, **truth}.items()}
        return {**own, "real_normal": image[count:]}


def step_output(engine: Engine) -> dict[str, Tensor]:
    """Output of the latest training step, by name."""
    output: Any = engine.state.output
    return output if isinstance(output, dict) else output[0]


class StepTrainer(Trainer):
    """Trains with one step on every batch, such as the adversarial step of a DGM or the step of a detector.

    ``engine.state.output`` is a list of one dictionary: ``loss`` and every named term (scalars), and the images of the
    step. MONAI's trackers look for such a list (``from_engine(["loss"], first=True)``); :func:`step_output` takes the
    dictionary out.

    Args:
        device: where the networks are.
        max_epochs: number of epochs.
        train_data_loader: yields batches for ``prepare_batch``.
        step: trains on one batch.
        warm_up: replaces ``step`` in its first ``iterations``; None for none.
        prepare_batch: moves a batch to the device; by default :class:`PrepareTrainingBatch`.
        train_handlers: Ignite or MONAI handlers.
    """

    def __init__(
        self,
        device: torch.device | str,
        max_epochs: int,
        train_data_loader: DataLoader,
        step: TrainingStep,
        warm_up: ResidueWarmUp | None = None,
        prepare_batch: Callable[..., dict[str, Any]] | None = None,
        train_handlers: Sequence[Any] | None = None,
    ) -> None:
        self.step = step
        self.warm_up = warm_up
        super().__init__(
            max_epochs=max_epochs,
            data_loader=train_data_loader,
            prepare_batch=prepare_batch or PrepareTrainingBatch(),
            handlers=train_handlers,
            **resumable(device, train_data_loader),
        )

    def _iteration(self, engine: Any, batchdata: dict[str, Any]) -> Any:
        batch = self.prepare_batch(batchdata, engine.state.device, engine.non_blocking)
        self.step.network.train()
        if self.warm_up is not None and engine.state.iteration <= self.warm_up.iterations:
            return [self.warm_up(batch)]
        return [self.step(batch)]
