"""Training and running a classifier with MONAI's supervised workflows: batches, precision, scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ignite.metrics import Metric
from monai.engines import PrepareBatch, SupervisedTrainer
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from monai_dgm.data.decomposed import DecomposedDataset
from monai_dgm.errors import InputError
from monai_dgm.metrics.classification import auc

__all__ = ["AutocastInferer", "ClassificationScores", "ClassifierTrainer", "PrepareClassification", "ScoreRecord"]

BatchTransform = Callable[[dict[str, Tensor]], dict[str, Tensor]]


@dataclass(frozen=True)
class ScoreRecord:
    """One scored radiograph.

    Attributes:
        image_id: unique name of the image.
        patient_id: images that share it are resampled together.
        source, view, sex: "unknown" where the data does not say.
        category: "normal", "lung_opacity" or "other_abnormal"; "unknown" where the data does not say.
        label: of the task, 0 or 1.
        score: probability of label 1, in [0, 1].
    """

    image_id: str
    patient_id: str
    source: str
    view: str
    sex: str
    category: str
    label: int
    score: float


class PrepareClassification(PrepareBatch):
    """Batches for MONAI's trainer and evaluator: moved to the device, varied, the label as a column.

    Args:
        transforms: applied to a batch on the device, in order (normal twins, variation); none to evaluate.
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
        """``image`` (B, C, S, S) and ``label`` (B,) of a batch -> images and labels (B, 1), float32."""
        batch = {name: batchdata[name].to(device, non_blocking=non_blocking) for name in ("image", "label")}
        for transform in self.transforms:
            batch = transform(batch)
        return batch["image"].contiguous(memory_format=self.memory_format), batch["label"].float()[:, None]


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


class ClassifierTrainer(SupervisedTrainer):
    """MONAI's supervised trainer, whose output is what this package's handlers and MONAI's trackers look for.

    ``engine.state.output`` is a list of one dictionary (``image``, ``label``, ``pred``, and ``loss``, a scalar), all
    detached. The loader takes no random numbers from torch's global state, so that a resumed training repeats them.

    Args:
        device: where the network is.
        max_epochs: epochs in all.
        train_data_loader: yields ``image`` (B, C, S, S) and ``label`` (B,).
        network: from C channels to logits (B, 1).
        optimizer: of its parameters.
        loss_function: of logits and labels, both (B, 1).
        prepare_batch: by default :class:`PrepareClassification` without transforms.
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
        if train_data_loader.generator is None:
            # Else each new iterator draws a seed from torch's global state, and a resumed run has one iterator more.
            train_data_loader.generator = torch.Generator()
        super().__init__(
            device=torch.device(device),
            max_epochs=max_epochs,
            train_data_loader=train_data_loader,
            network=network,
            optimizer=optimizer,
            loss_function=loss_function,
            epoch_length=len(train_data_loader),
            non_blocking=torch.device(device).type == "cuda",
            prepare_batch=prepare_batch or PrepareClassification(),
            inferer=inferer or AutocastInferer(),
            train_handlers=train_handlers,
            decollate=False,
            optim_set_to_none=True,
        )

    def _iteration(self, engine: Any, batchdata: dict[str, Tensor]) -> Any:
        output = super()._iteration(engine, batchdata)
        return [{name: value.detach() for name, value in output.items()}]


class ClassificationScores(Metric):
    """Scores of a data set, kept with what it knows of each image; its value is their AUC (NaN for a single label).

    Args:
        dataset: that the evaluator runs over, in its order; the evaluator's output has ``pred`` (logits) and ``label``.
    """

    def __init__(self, dataset: DecomposedDataset, device: str = "cpu") -> None:
        self.dataset = dataset
        self._scores: list[float] = []
        super().__init__(output_transform=lambda output: (output["pred"], output["label"]), device=device)

    def reset(self) -> None:
        """Forget all scores."""
        self._scores = []

    def update(self, output: Sequence[Tensor]) -> None:
        """Take in logits and labels (B, 1) of a batch.

        Raises:
            InputError: logits that are not finite.
            ValueError: labels that are not those of the data set's next images.
        """
        logits, labels = (values.detach().double().flatten().cpu() for values in output)
        first = len(self._scores)
        if not torch.equal(labels.float(), self.dataset.labels[first : first + len(labels)]):
            raise ValueError("expected the images of the data set in their order, the labels are others")
        if not torch.isfinite(logits).all():
            raise InputError("expected finite values from the classifier, got NaN or infinity: are the weights sound?")
        self._scores += torch.sigmoid(logits).tolist()

    def compute(self) -> float:
        """AUC."""
        return auc(self.dataset.labels[: len(self._scores)].numpy(), self._scores)

    @property
    def records(self) -> list[ScoreRecord]:
        """Every scored image, in the order of the data set."""
        return [_record(self.dataset.items[place], place, score) for place, score in enumerate(self._scores)]


def _record(item: dict[str, Any], place: int, score: float) -> ScoreRecord:
    known = {name: str(item.get(name) or "unknown") for name in ("source", "view", "sex", "category")}
    names = {"image_id": str(item.get("image_id", place)), "patient_id": str(item.get("patient_id", place))}
    return ScoreRecord(**names, **known, label=int(item["label"]), score=score)
