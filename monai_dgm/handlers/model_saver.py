"""Writes the weights of the inference network after a validation: those of the best one, or of the last."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from torch import nn

from monai_dgm.engines.weights import save_weights
from monai_dgm.handlers.history import TrainingHistory
from monai_dgm.networks.residue_system import ResidueSystem
from monai_dgm.utils.atomic import write_json

__all__ = ["ModelSaver"]

logger = logging.getLogger(__name__)


class ModelSaver:
    """Handler of the validator: saves the best model and adds the validation's metrics to the history.

    MONAI's own saver writes into the file in place, and saves the network that is trained, not the one for inference.

    Args:
        network: the network to save (its moving average, where there is one). One that has an ``inference_network()``,
            as the DGM has, is saved as that.
        path: ``.pt`` or ``.safetensors``, replaced as a whole.
        history: gets ``validation/<metric>`` at the iteration of the trainer that it is attached to.
        settings: written beside the weights as JSON, so that inference knows the network's size.
        keep: "best" keeps the weights of the best validation, "last" those of the last one, as the authors of GANs do
            whose validation score a network that changes nothing would win.

    Raises:
        ValueError: another ``keep``.
    """

    def __init__(
        self,
        network: nn.Module,
        path: str | os.PathLike[str],
        history: TrainingHistory,
        settings: Mapping[str, Any] | None = None,
        keep: str = "best",
    ) -> None:
        if keep not in ("best", "last"):
            raise ValueError(f"keep: expected 'best' or 'last', got {keep!r}")
        self.keep = keep
        self.settings = dict(settings or {})
        self.network = network
        self.path = Path(path)
        self.history = history

    def attach(self, engine: Engine) -> None:
        """Run after the validator has compared its key metric."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Add the metrics to the history; save where this validation's weights are to be kept."""
        state: Any = engine.state
        if self.history.trainer is not None:
            metrics = {f"validation/{k}": v for k, v in state.metrics.items() if isinstance(v, float | int)}
            self.history.add(self.history.trainer, metrics)
        if self.keep == "last" or state.best_metric_epoch == state.epoch:
            network: Any = self.network
            if hasattr(network, "inference_network"):
                network = network.inference_network()
            settings = self.settings
            if isinstance(network, ResidueSystem):
                own = {"architecture": network.architecture, "network_settings": network.network_settings()}
                settings = {**own, **settings}
            write_json(self.path.with_suffix(".json"), settings)
            save_weights(network.state_dict(), self.path)
            logger.info("saved %s: %s, best so far %.4f", self.path, state.key_metric_name, state.best_metric)
