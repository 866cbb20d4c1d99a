"""The trainer: MONAI's workflow around one adversarial step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines import Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from monai_dgm.engines.training.steps import AdversarialStep
from monai_dgm.engines.training.warm_up import ResidueWarmUp

TRUTH = ("box_weight", "complete", "category", "lungs")
"""What a batch of :class:`monai_dgm.data.truth_dataset.TruthDataset` has besides images and labels."""

__all__ = ["DGMTrainer", "prepare_dgm_batch", "resumable", "step_output"]


def resumable(device: torch.device | str, train_data_loader: DataLoader) -> dict[str, Any]:
    """Arguments that MONAI's trainers here have in common, so that a resumed training repeats itself.

    The loader gets a generator of its own where it has none: else each new iterator draws a seed from torch's global
    state, and a resumed run has one iterator more.

    Args:
        device: where the networks are.
        train_data_loader: changed in place.
    """
    if train_data_loader.generator is None:
        train_data_loader.generator = torch.Generator()
    device = torch.device(device)
    length = len(train_data_loader)
    return {"device": device, "epoch_length": length, "non_blocking": device.type == "cuda", "decollate": False}


def prepare_dgm_batch(
    batch: dict[str, Tensor],
    device: torch.device,
    non_blocking: bool = False,
    num_real: int = 0,
    channels_last: bool = False,
) -> dict[str, Tensor]:
    """Move a batch to the device and split off the images that only the discriminator sees.

    Args:
        batch: ``image`` (B + R, 1, S, S) in [-1, 1], ``label`` (B + R,); the last R = ``num_real`` images are normal.
        device, non_blocking: as in ``Tensor.to``.
        num_real: R.
        channels_last: memory format of the images.

    Returns:
        ``image``, ``label`` and, where they are there, :data:`TRUTH` of the first B images, and ``real_normal``
        (R, 1, S, S) where R > 0.
    """
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    image = batch["image"].to(device, non_blocking=non_blocking, memory_format=memory_format)
    label = batch["label"].to(device, non_blocking=non_blocking).float()
    truth = {name: batch[name].to(device, non_blocking=non_blocking) for name in TRUTH if name in batch}
    if num_real == 0:
        return {"image": image, "label": label, **truth}
    own = {name: value[:-num_real] for name, value in {"image": image, "label": label, **truth}.items()}
    return {**own, "real_normal": image[-num_real:]}


def step_output(engine: Engine) -> dict[str, Tensor]:
    """What the latest step of a :class:`DGMTrainer` put out."""
    output: Any = engine.state.output
    return output if isinstance(output, dict) else output[0]


class DGMTrainer(Trainer):
    """Trains a DGM and its discriminator, alternating between them on every batch.

    Args:
        device: where the networks are.
        max_epochs: epochs in all.
        train_data_loader: yields ``image`` and ``label``; see :class:`monai_dgm.data.sampler.BalancedBatchSampler`.
        step: the alternation.
        warm_up: takes its place in the first iterations, if any.
        num_real: images at the end of each batch that only the discriminator sees.
        handlers: Ignite or MONAI handlers.
        prepare_batch: by default :func:`prepare_dgm_batch`.

    ``engine.state.output`` is a list of one dictionary: ``loss`` and every named term (scalars), and the images of the
    step. MONAI's trackers look for such a list (``from_engine(["loss"], first=True)``); :func:`step_output` takes the
    dictionary out.
    """

    def __init__(
        self,
        device: torch.device | str,
        max_epochs: int,
        train_data_loader: DataLoader,
        step: AdversarialStep,
        num_real: int = 0,
        handlers: Sequence[Any] | None = None,
        prepare_batch: Callable[..., dict[str, Tensor]] = prepare_dgm_batch,
        warm_up: ResidueWarmUp | None = None,
    ) -> None:
        self.step = step
        self.warm_up = warm_up
        self.num_real = num_real
        super().__init__(
            max_epochs=max_epochs,
            data_loader=train_data_loader,
            prepare_batch=prepare_batch,
            handlers=handlers,
            **resumable(device, train_data_loader),
        )

    def _iteration(self, engine: Any, batchdata: dict[str, Tensor]) -> Any:
        batch = self.prepare_batch(
            batchdata,
            engine.state.device,
            engine.non_blocking,
            num_real=self.num_real,
            channels_last=self.step.autocast is not None,
        )
        self.step.network.train()
        if self.warm_up is not None and engine.state.iteration <= self.warm_up.iterations:
            return [self.warm_up(batch)]
        return [self.step(batch)]
