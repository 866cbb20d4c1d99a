"""Supervised training of classifiers and segmentors: batches, mixed precision, trainings that can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.engines import PrepareBatch, SupervisedTrainer
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from monai_dgm.engines.training.trainer import resumable

__all__ = ["AutocastInferer", "PrepareTransformedBatch", "ResumableTrainer"]

BatchTransform = Callable[[dict[str, Tensor]], dict[str, Tensor]]


class PrepareTransformedBatch(PrepareBatch):
    """Move a batch to the device and apply transforms there; for MONAI's trainer and evaluator.

    Args:
        transforms: applied to a batch on the device, in order (augmentation, pseudo-healthy images); none to evaluate.
        channels_last: memory format of the images.
    """

    def __init__(self, transforms: Sequence[BatchTransform] = (), channels_last: bool = True) -> None:
        self.transforms = tuple(transforms)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def __call__(
        self,
        batchdata: dict[str, Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """``image`` (B, C, S, S) and ``label`` in float32; labels (B,) become a column (B, 1), masks stay."""
        batch = {name: batchdata[name].to(device, non_blocking=non_blocking) for name in ("image", "label")}
        for transform in self.transforms:
            batch = transform(batch)
        image, label = batch["image"].contiguous(memory_format=self.memory_format), batch["label"].float()
        return image, label[:, None] if label.dim() == 1 else label


class AutocastInferer(SimpleInferer):
    """Calls the network under autocast on any device; MONAI's own mixed precision is for CUDA only.

    Args:
        dtype: such as ``torch.bfloat16``; None for full precision.
    """

    def __init__(self, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.dtype = dtype

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """The network's output in float32: losses and scores are computed in full precision."""
        with torch.autocast(inputs.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            return super().__call__(inputs, network, *args, **kwargs).float()


class ResumableTrainer(SupervisedTrainer):
    """MONAI's supervised trainer with the output that this package's handlers and MONAI's trackers expect.

    ``engine.state.output`` is a list of one dictionary (``image``, ``label``, ``pred``, and ``loss``, a scalar), all
    detached. The loader takes no random numbers from torch's global state, so that a resumed training repeats the
    uninterrupted one.

    Args:
        device: where the network is.
        max_epochs: number of epochs.
        train_data_loader: yields ``image`` (B, C, S, S) and ``label`` (B,) or (B, 1, S, S).
        network: from C channels to logits, (B, 1) or (B, 1, S, S).
        optimizer: of its parameters.
        loss_function: of logits and labels of one shape.
        prepare_batch: by default :class:`PrepareTransformedBatch` without transforms.
        inferer: calls the network; by default in full precision.
        train_handlers: Ignite or MONAI handlers.
    """

    def __init__(
        self,
        device: torch.device | str,
        max_epochs: int,
        train_data_loader: DataLoader,
        network: nn.Module,
        optimizer: Optimizer,
        loss_function: Callable[[Tensor, Tensor], Tensor],
        prepare_batch: PrepareBatch | None = None,
        inferer: Inferer | None = None,
        train_handlers: Sequence[Any] | None = None,
    ) -> None:
        super().__init__(
            max_epochs=max_epochs,
            train_data_loader=train_data_loader,
            network=network,
            optimizer=optimizer,
            loss_function=loss_function,
            prepare_batch=prepare_batch or PrepareTransformedBatch(),
            inferer=inferer or AutocastInferer(),
            train_handlers=train_handlers,
            optim_set_to_none=True,
            **resumable(device, train_data_loader),
        )

    def _iteration(self, engine: Any, batchdata: dict[str, Tensor]) -> Any:
        output = super()._iteration(engine, batchdata)
        return [{name: value.detach() for name, value in output.items()}]
