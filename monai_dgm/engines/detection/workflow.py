"""Training and evaluation of an opacity detector in MONAI's workflows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import torch
from ignite.metrics import Metric
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from monai_dgm.data.opacity_boxes import OpacityBoxDataset
from monai_dgm.engines.network_evaluator import NetworkEvaluator
from monai_dgm.engines.training.steps import OneOptimizerStep
from monai_dgm.errors import InputError
from monai_dgm.metrics.detection import DetectionMetrics, DetectionResult, detection_metrics
from monai_dgm.networks.detector import OpacityDetector

__all__ = ["DetectionEvaluator", "DetectionStep", "OpacityDetections", "prepare_detection_batch"]

logger = logging.getLogger(__name__)


def prepare_detection_batch(
    batch: dict[str, Any], device: str | torch.device | None = None, non_blocking: bool = False, **kwargs: Any
) -> dict[str, Any]:
    """Move a batch of :func:`monai_dgm.data.opacity_boxes.collate_boxes` to the device; images in channels_last."""
    image = batch["image"].to(device, non_blocking=non_blocking, memory_format=torch.channels_last)
    return {**batch, "image": image, "boxes": [boxes.to(device, non_blocking=non_blocking) for boxes in batch["boxes"]]}


@dataclass(eq=False, repr=False)
class DetectionStep(OneOptimizerStep):
    """One optimiser step. A batch that gives NaN or infinity is skipped with a warning and counted, not trained on.

    Args:
        network: the detector.
        optimizer: of its parameters.
        batch_transforms, autocast, max_grad_norm: as in :class:`OneOptimizerStep`; losses are in full precision.
        max_skipped: as many skipped steps in a row end the training: its weights are beyond help.
        inferer: calls the network; by default on the whole image.
    """

    network: OpacityDetector
    _: KW_ONLY
    max_skipped: int = 50
    inferer: Inferer = field(default_factory=SimpleInferer)

    def __post_init__(self) -> None:
        self.num_skipped = 0
        self._in_a_row = 0
        self._last: dict[str, Tensor] = {name: torch.zeros(()) for name in ("loss", "classification", "box_regression")}

    def __call__(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Train on one batch.

        Args:
            batch: ``image`` (B, C, S, S) on the network's device, ``boxes`` B tensors (N, 4).

        Returns:
            detached scalars: ``loss``, ``classification``, ``box_regression``, ``grad_norm`` (of a skipped step those
            of the last good one) and ``skipped``, 1 or 0.

        Raises:
            InputError: too many skipped steps in a row.
        """
        batch = self.transform(batch)
        self.optimizer.zero_grad(set_to_none=True)
        try:
            self._last = self._train(batch["image"], batch["boxes"])
        except FloatingPointError as error:
            self._skip(str(error))
            return {**self._last, "skipped": torch.ones(())}
        self._in_a_row = 0
        return {**self._last, "skipped": torch.zeros(())}

    def _train(self, image: Tensor, boxes: list[Tensor]) -> dict[str, Tensor]:
        running = _running_statistics(self.network)
        try:
            with self.amp(image.device):
                losses = self.inferer(image, self.network.training_losses, boxes)
            losses["loss"].backward()
            norm = nn.utils.get_total_norm([p.grad for p in self.network.parameters() if p.grad is not None])
            if not torch.isfinite(torch.stack((norm, losses["loss"].detach()))).all():
                raise FloatingPointError("the detector's loss or its gradients are not finite")
        except FloatingPointError:
            for buffer, value in running:  # the statistics have seen the batch already
                buffer.copy_(value)
            raise
        if self.max_grad_norm is not None:
            nn.utils.clip_grads_with_norm_(self.network.parameters(), self.max_grad_norm, norm)
        self.optimizer.step()
        return {**{name: loss.detach() for name, loss in losses.items()}, "grad_norm": norm.detach()}

    def _skip(self, reason: str) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.num_skipped += 1
        self._in_a_row += 1
        logger.warning("step skipped, %s (%d so far)", reason, self.num_skipped)
        if self._in_a_row >= self.max_skipped:
            raise InputError(
                f"training diverged: {self._in_a_row} steps in a row were not finite; start anew with a lower "
                "learning_rate, or with autocast null"
            )


def _running_statistics(network: nn.Module) -> list[tuple[Tensor, Tensor]]:
    return [(buffer, buffer.clone()) for buffer in network.buffers()]


class OpacityDetections(Metric):
    """What a detector found in a data set with the true boxes of each image, and the metrics of both.

    ``compute`` returns the values by name, so they appear in ``engine.state.metrics``; ``results`` and ``metrics`` keep
    everything.

    Args:
        dataset: that the evaluator runs over.
        num_bootstrap: resamples of the intervals; none are needed while training.
    """

    def __init__(self, dataset: OpacityBoxDataset, num_bootstrap: int = 0, device: str = "cpu") -> None:
        self.dataset = dataset
        self.num_bootstrap = num_bootstrap
        self.results: list[DetectionResult] = []
        self.metrics: DetectionMetrics | None = None
        super().__init__(output_transform=lambda out: (out["boxes"], out["scores"], out["index"]), device=device)

    def reset(self) -> None:
        """Forget the results."""
        self.results = []

    def update(self, output: Sequence[Any]) -> None:
        """Add boxes, scores and indices of a batch of :class:`DetectionEvaluator`."""
        for boxes, scores, number in zip(*output, strict=True):
            index = int(number)
            item = self.dataset.items[index]
            names = {name: str(item.get(name, index)) for name in ("image_id", "patient_id")}
            truth = self.dataset.boxes[index].numpy()
            self.results.append(DetectionResult(**names, boxes=boxes.numpy(), scores=scores.numpy(), truth=truth))

    def compute(self) -> dict[str, float]:
        """Metrics by name; those that are not defined on this data are left out."""
        self.metrics = detection_metrics(self.results, self.num_bootstrap)
        return {row.name: row.value for row in self.metrics.rows if row.value == row.value}


class DetectionEvaluator(NetworkEvaluator):
    """Runs a detector over a data set.

    Args:
        device: where the network is.
        val_data_loader: yields ``image`` and ``index``, in the order of the data set.
        network: used in evaluation mode, full precision.
        metrics: collects what is found; its metric ``ap`` is the key metric.
        val_handlers: Ignite or MONAI handlers.
        inferer: calls the network; by default on the whole image.
        strict: raise where the network yields NaN or infinity; else warn and count it as nothing found, so that a
            training goes on.

    ``engine.state.output`` is ``{"image", "boxes", "scores", "index"}``, boxes (N, 4) and scores (N,) of each image.

    Raises:
        InputError: NaN or infinity, when ``strict``.
    """

    def __init__(
        self,
        device: torch.device | str,
        val_data_loader: DataLoader,
        network: OpacityDetector,
        metrics: OpacityDetections,
        val_handlers: Sequence[Any] | None = None,
        inferer: Inferer | None = None,
        strict: bool = False,
    ) -> None:
        self.strict = strict
        self._detect = network.detect
        names = ("detection", "average_precision", "ap")
        super().__init__(device, val_data_loader, network, val_handlers, inferer, metrics, *names)

    def _iteration(self, engine: Any, batchdata: dict[str, Any]) -> dict[str, Any]:
        image = batchdata["image"].to(engine.state.device, non_blocking=engine.non_blocking)
        self.network.eval()
        try:
            found = self.inferer(image, self._detect)
        except FloatingPointError as error:
            if self.strict:
                raise InputError(f"{error}: are the weights sound?") from error
            logger.warning("%s: %d images count as nothing found", error, len(image))
            found = [(image.new_zeros(0, 4), image.new_zeros(0))] * len(image)
        boxes, scores = [own.cpu() for own, _ in found], [own.cpu() for _, own in found]
        return {"image": image, "boxes": boxes, "scores": scores, "index": batchdata["index"]}
