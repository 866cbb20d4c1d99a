"""MONAI's evaluator around one network and one metric that gives values by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from ignite.metrics import Metric, MetricsLambda
from monai.engines import Evaluator
from monai.inferers import Inferer, SimpleInferer
from torch import nn
from torch.utils.data import DataLoader

__all__ = ["NetworkEvaluator"]


class NetworkEvaluator(Evaluator):
    """Runs a network over a data set; subclasses say in ``_iteration`` what is computed for a batch.

    Args:
        device: where the network is.
        val_data_loader: yields ``image`` and ``index``, in the order of the data set.
        network: used in evaluation mode, full precision.
        val_handlers: Ignite or MONAI handlers.
        inferer: calls the network; by default on the whole image.
        metric: its ``compute`` returns a dictionary of values; it is in ``engine.state.metrics`` as ``metric_name``.
        metric_name: see ``metric``.
        key_name: name of the key metric, by which models are chosen.
        key: which of the metric's values is the key metric; 0 where it is not defined on the data.
    """

    def __init__(
        self,
        device: torch.device | str,
        val_data_loader: DataLoader,
        network: nn.Module,
        val_handlers: Sequence[Any] | None,
        inferer: Inferer | None,
        metric: Metric,
        metric_name: str,
        key_name: str,
        key: str,
    ) -> None:
        self.network = network
        self.inferer = inferer or SimpleInferer()
        super().__init__(
            device=torch.device(device),
            val_data_loader=val_data_loader,
            key_val_metric={key_name: MetricsLambda(lambda values: values.get(key, 0.0), metric)},
            additional_metrics={metric_name: metric},
            val_handlers=val_handlers,
            decollate=False,
        )
