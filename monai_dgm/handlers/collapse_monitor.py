"""Handler that warns when a GAN training collapses while its total loss still looks normal.

Three failures do not show in the total loss: the residue becomes zero (y' is a blurred copy of z and D learns nothing),
the normal image is the same for all patients (y' no longer follows z), and the abnormality head is inverted. The
monitor computes one metric for each and logs a warning.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.metrics import compute_roc_auc
from torch import Tensor

from monai_dgm.engines.training.trainer import step_output
from monai_dgm.handlers.history import TrainingHistory

__all__ = ["CollapseMonitor", "Window", "collapse_metrics", "collapse_warnings"]

logger = logging.getLogger(__name__)


@dataclass
class Window:
    """Sums over the iterations of an interval, from which the metrics are computed.

    Attributes:
        residue, label, probability: mean |a|, label and abnormality probability of each image, (n,).
        sums: over images, of 16 x 16 thumbnails of y' and z and of their squares: "normal_1", "normal_2", "image_1",
            "image_2".
        count: images summed.
        scores, score_counts: sums of D's mean scores by name ("real_score_0", ...), and how many were summed.
    """

    residue: list[Tensor] = field(default_factory=list)
    label: list[Tensor] = field(default_factory=list)
    probability: list[Tensor] = field(default_factory=list)
    sums: dict[str, Tensor] = field(default_factory=dict)
    count: int = 0
    scores: dict[str, Tensor] = field(default_factory=dict)
    score_counts: dict[str, int] = field(default_factory=dict)

    def add(self, output: dict[str, Tensor]) -> None:
        """Take in the output of one training step; images with superimposed opacities have no label of their own.

        A system without a head gives no ``abnormality_logit``, and a warm-up of the residue branch no ``normal``.
        """
        label = output["label"]
        real = ~output["superimposed"] if "superimposed" in output else torch.ones_like(label, dtype=torch.bool)
        self.residue.append(output["residue"].abs().mean(dim=(1, 2, 3))[real].cpu())
        self.label.append(label[real].cpu())
        if "abnormality_logit" in output:
            self.probability.append(torch.sigmoid(output["abnormality_logit"].float()).squeeze(1)[real].cpu())
        if "normal" not in output:
            return
        for name in ("normal", "image"):
            small = torch.nn.functional.adaptive_avg_pool2d(output[name].float(), 16).cpu()
            for power in (1, 2):
                key = f"{name}_{power}"
                self.sums[key] = self.sums.get(key, torch.zeros(())) + (small**power).sum(dim=0)
        self.count += len(output["label"])
        for name, value in output.items():
            if name.startswith(("real_score", "fake_score")):
                self.scores[name] = self.scores.get(name, torch.zeros(())) + value.float()
                self.score_counts[name] = self.score_counts.get(name, 0) + 1

    def mean_scores(self) -> dict[str, float]:
        """Means of D's scores over the interval: those of a single batch are too noisy to judge by."""
        return {name: float(total) / self.score_counts[name] for name, total in self.scores.items()}


def collapse_metrics(window: Window) -> dict[str, float]:
    """Metrics of an interval.

    Returns:
        ``residue_normal``, ``residue_abnormal``: mean |a|; ``normal_std``: standard deviation of y' over images
        relative to that of z (per pixel of a 16 x 16 thumbnail, then averaged); ``head_auc``. A metric whose class
        is absent is left out.
    """
    residue, label = torch.cat(window.residue), torch.cat(window.label)
    metrics: dict[str, float] = {}
    for name, value in (("normal", 0), ("abnormal", 1)):
        if (label == value).any():
            metrics[f"residue_{name}"] = float(residue[label == value].mean())
    if window.probability and len(label.unique()) == 2:
        metrics["head_auc"] = float(np.asarray(compute_roc_auc(torch.cat(window.probability), label.long())))
    if window.count > 1:
        std = {}
        for name in ("normal", "image"):
            mean = window.sums[f"{name}_1"] / window.count
            std[name] = (window.sums[f"{name}_2"] / window.count - mean**2).clamp(min=0).sqrt().mean()
        metrics["normal_std"] = float(std["normal"] / std["image"].clamp(min=1e-6))
    return metrics


def collapse_warnings(metrics: dict[str, float], scores: dict[str, float]) -> list[str]:
    """Messages for the metrics of an interval that show a collapse.

    Args:
        metrics: of :func:`collapse_metrics`.
        scores: D's mean score by name, ``real_score_<scale>`` and ``fake_score_<scale>``.
    """
    warnings = []
    abnormal, normal = metrics.get("residue_abnormal"), metrics.get("residue_normal")
    if abnormal is not None and normal is not None and (abnormal < 0.003 or abnormal < 1.1 * normal):
        warnings.append(
            f"the residue is dying: mean |a| {abnormal:.4f} on abnormal images, {normal:.4f} on normal ones; "
            "strengthen D (its learning rate) or the terms on the residue"
        )
    if metrics.get("normal_std", 1.0) < 0.5:
        warnings.append(
            f"one normal for everybody: y' varies {metrics['normal_std']:.2f} times as much as the images; "
            "lower lambda_A or D's learning rate"
        )
    if metrics.get("head_auc", 1.0) < 0.45:
        warnings.append(
            f"the head is inverted: AUC {metrics['head_auc']:.2f}; no gradient of 'y' is normal' may reach E_F"
        )
    gaps = [abs(scores[name] - scores[name.replace("real", "fake")]) for name in scores if name.startswith("real")]
    if gaps and max(gaps) < 0.01:
        warnings.append(
            "D sees no difference between real and synthesised normals at any scale: its scores give no signal"
        )
    if gaps and min(gaps) > 0.9:
        warnings.append("D tells real from synthesised normals perfectly at every scale: its gradients may vanish")
    return warnings


class CollapseMonitor:
    """Handler of the trainer: adds ``collapse/...`` metrics to the history and logs warnings.

    Args:
        history: gets the metrics.
        interval: iterations of an interval.
        grace: iterations before the first warning, since an untrained network looks collapsed.
    """

    def __init__(self, history: TrainingHistory, interval: int = 100, grace: int = 500) -> None:
        self.history = history
        self.interval = interval
        self.grace = grace
        self.window = Window()
        self.warnings: list[str] = []

    def attach(self, engine: Engine) -> None:
        """Collect each iteration, check every ``interval``."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._watch)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self._judge)

    def _watch(self, engine: Engine) -> None:
        self.window.add(step_output(engine))

    def _judge(self, engine: Engine) -> None:
        metrics, scores = collapse_metrics(self.window), self.window.mean_scores()
        self.window = Window()
        self.history.add(engine, {f"collapse/{name}": value for name, value in metrics.items()})
        if engine.state.iteration < self.grace:
            return
        for warning in collapse_warnings(metrics, scores):
            message = f"iteration {engine.state.iteration}: {warning}"
            logger.warning(message)
            self.warnings.append(message)

    def state_dict(self) -> dict[str, Any]:
        """Warnings so far, and the sums of the unfinished interval."""
        return {"warnings": list(self.warnings), "window": copy.deepcopy(vars(self.window))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a :meth:`state_dict`."""
        self.warnings[:] = state["warnings"]  # in place: a report may hold the list
        self.window = Window(**copy.deepcopy(state["window"]))
