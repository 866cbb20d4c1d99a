"""Evaluation of a residue system: a MONAI evaluator, the result of each radiograph, and their metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ignite.metrics import Metric
from monai.inferers import Inferer
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.sources import Baselines, FindLungs, lung_box_of
from monai_dgm.engines.network_evaluator import NetworkEvaluator
from monai_dgm.metrics.case_results import DecompositionResult, MetricRow, origin_of, standard_groups
from monai_dgm.metrics.decomposition import evaluate_decomposition
from monai_dgm.networks.residue_system import join_prediction

__all__ = ["DecompositionEvaluator", "DecompositionMetrics", "as_prediction", "result_of"]


ClassMap = Callable[[Tensor], NDArray[np.float32]]


def as_prediction(outputs: dict[str, Tensor] | Tensor) -> Tensor:
    """The output of a residue system (tensor), or of its training network (dictionary), as (B, 3, S, S).

    Args:
        outputs: the tensor as it is; or ``normal`` and ``residue`` (B, 1, S, S), and ``abnormality_logit`` (B, 1) where
            the network has one.
    """
    if isinstance(outputs, Tensor):
        return outputs
    logit = outputs.get("abnormality_logit")
    probability = None if logit is None else torch.sigmoid(logit.float())
    return join_prediction(outputs["normal"], outputs["residue"], probability)


def result_of(
    dataset: RadiographDataset,
    index: int,
    image: Tensor,
    prediction: Tensor,
    find_lungs: FindLungs | None = None,
    class_maps: Mapping[str, ClassMap] | None = None,
) -> DecompositionResult:
    """One evaluated radiograph with what the data set knows of it.

    Args:
        dataset: where it comes from.
        index: which.
        image: z, (1, S, S).
        prediction: (3, S, S).
        find_lungs: a lung segmentor, for images without a lung mask.
        class_maps: baselines that look at the image, by name; of images with opacities.
    """
    item, truth = dataset.items[index], dataset.truth(index)
    normal, mask = truth.get("normal"), truth.get("opacity_mask")
    opaque = len(truth["opacity_boxes"]) > 0 if mask is None else bool(mask.any())
    maps = {name: look(image[None])[0] for name, look in (class_maps or {}).items()} if opaque else {}
    return DecompositionResult(
        image_id=str(item.get("image_id", index)),
        patient_id=str(item.get("patient_id", index)),
        **origin_of(item),
        label=int(item["label"]),
        category=str(item.get("category") or ("abnormal" if item["label"] else "normal")),
        image=image[0].cpu().numpy(),
        normal=prediction[0].cpu().numpy(),
        residue=prediction[1].cpu().numpy(),
        probability=float(prediction[2, 0, 0]),
        opacity_mask=mask,
        opacity_boxes=truth["opacity_boxes"],
        lung_mask=truth.get("lung_mask"),
        true_normal=None if normal is None else normal[0],
        lung_box=lung_box_of(dataset, index, truth, find_lungs if len(truth["opacity_boxes"]) else None),
        class_maps=maps,
    )


class DecompositionMetrics(Metric):
    """Metrics of a decomposition over a data set.

    ``compute`` returns the values of group "all" by name, so they appear in ``engine.state.metrics``; ``rows`` and
    ``results`` keep the metrics with their intervals and the result of each radiograph, for reports.

    Args:
        dataset: that the evaluator runs over.
        baselines: of the training set, shown next to the metrics.
        num_bootstrap: resamples of the intervals; few suffice while training.
        find_lungs: a lung segmentor, (B, 1, S, S) -> bool (B, S, S), for the prior aligned to the lungs of images
            without drawn lungs.
        class_maps: baselines by name, such as
            :func:`monai_dgm.engines.classification.class_activation.load_class_activations` gives: from images
            (B, 1, S, S) to maps (B, S, S), at least 0, of where disease is.
        group_by: groups with metrics of their own, by "source", "view" or "sex"; each takes as much time as all images.
    """

    def __init__(
        self,
        dataset: RadiographDataset,
        baselines: Baselines | None = None,
        num_bootstrap: int = 1000,
        group_by: Sequence[str] = ("source",),
        device: str = "cpu",
        find_lungs: FindLungs | None = None,
        class_maps: Mapping[str, ClassMap] | None = None,
    ) -> None:
        self.class_maps = class_maps
        self.find_lungs = find_lungs
        self.dataset = dataset
        self.group_by = tuple(group_by)
        self.baselines = baselines or Baselines(None, None)
        self.num_bootstrap = num_bootstrap
        self.results: list[DecompositionResult] = []
        self.rows: list[MetricRow] = []
        super().__init__(output_transform=lambda out: (out["image"], out["pred"], out["index"]), device=device)

    def reset(self) -> None:
        """Start again, without results."""
        self.results = []

    def update(self, output: Sequence[Tensor]) -> None:
        """Take in images, predictions and indices of a batch of :class:`DecompositionEvaluator`."""
        for image, prediction, index in zip(*output, strict=True):
            self.results.append(
                result_of(self.dataset, int(index), image, prediction, self.find_lungs, self.class_maps)
            )

    def compute(self) -> dict[str, float]:
        """Metrics by name; those that are not defined on this data are left out.

        ``decomposition_score`` is their summary by which models are chosen: the mean of the head's AUC, the AUC of
        mean |a| and the SSIM of y' to z on normals. It needs image-level labels only.
        """
        self.rows = evaluate_decomposition(
            self.results,
            num_bootstrap=self.num_bootstrap,
            groups=standard_groups(self.results, self.group_by),
            mean_box_prior=self.baselines.mean_box_prior,
            mean_lung_box=self.baselines.mean_lung_box,
            aligned_prior=self.baselines.aligned_prior,
            mean_blob=self.baselines.mean_blob,
        )
        metrics = {row.name: row.value for row in self.rows if row.group == "all" and row.value == row.value}
        parts = [metrics[name] for name in ("head_auc", "residue_auc", "normal_ssim") if name in metrics]
        return {**metrics, "decomposition_score": sum(parts) / max(1, len(parts))}


class DecompositionEvaluator(NetworkEvaluator):
    """Runs a residue system, or the network that is trained for one, over a data set of radiographs.

    Args:
        device: where the network is.
        val_data_loader: yields ``image`` (B, 1, S, S) and ``index`` (B,), in the order of the data set.
        network: its output is as :func:`as_prediction` takes it; used in evaluation mode, full precision.
        metrics: computed at the end of a run; ``decomposition_score`` is the key metric.
        val_handlers: Ignite or MONAI handlers.
        inferer: calls the network; by default on the whole image.

    ``engine.state.output`` is ``{"image", "pred" (B, 3, S, S), "index"}``.
    """

    def __init__(
        self,
        device: torch.device | str,
        val_data_loader: DataLoader,
        network: nn.Module,
        metrics: DecompositionMetrics,
        val_handlers: Sequence[Any] | None = None,
        inferer: Inferer | None = None,
    ) -> None:
        names = ("metrics", "decomposition", "decomposition_score")
        super().__init__(device, val_data_loader, network, val_handlers, inferer, metrics, *names)

    def _iteration(self, engine: Any, batchdata: dict[str, Tensor]) -> dict[str, Tensor]:
        image = batchdata["image"].to(engine.state.device, non_blocking=engine.non_blocking)
        self.network.eval()
        with torch.inference_mode():
            prediction = as_prediction(self.inferer(image, self.network))
        return {"image": image, "pred": prediction, "index": batchdata["index"]}
