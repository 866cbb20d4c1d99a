"""Exported graphs in the place of the networks of a pipeline."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from monai_dgm.engines.lungs.segmentor import LungSegmentor
from monai_dgm.engines.residues.channel_model import ChannelModel
from monai_dgm.engines.runtimes.cache import cached_export, kept_export
from monai_dgm.engines.runtimes.export import Kind
from monai_dgm.engines.runtimes.installed import BF16, INT8
from monai_dgm.engines.runtimes.sessions import Session, as_array, open_session

__all__ = ["exported_channel_model", "exported_decomposer", "exported_lungs", "open_export"]


def open_export(kind: Kind, weights: str | os.PathLike[str], runtime: str, network: nn.Module) -> Session:
    """The exported graph of a trained network, loaded; arguments and errors as :func:`cached_export`.

    "openvino-bf16" computes with 16 bits where the processor can. "openvino-int8" takes the quantised decomposer, which
    has to be in the cache, and the other models in full.
    """
    if runtime == BF16:
        return open_session(cached_export(kind, weights, "openvino", network), precision="bf16", batched=True)
    if runtime != INT8:
        return open_session(cached_export(kind, weights, runtime, network), batched=True)
    if kind == "decomposer":
        return open_session(kept_export(kind, weights, INT8, "graph.xml", network, None), batched=True)
    return open_session(cached_export(kind, weights, "openvino", network), batched=True)


class ExportedDecomposer(nn.Module):
    """A residue system in another runtime.

    Args:
        session: of a :class:`monai_dgm.engines.runtimes.graphs.DecomposerGraph`.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, S, S) in [-1, 1] -> (B, 3, S, S)."""
        return self.predict_with_features(image)[0]

    def predict_with_features(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """The prediction, and the features (B, D) of the residue encoder, None where it has none."""
        prediction, *features = self.session(as_array(image))
        return torch.from_numpy(prediction), torch.from_numpy(features[0]) if features else None


class ExportedNetwork(nn.Module):
    """A graph of one input and one output.

    Args:
        session: of the graph.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, S, S) -> the output."""
        return torch.from_numpy(self.session(as_array(image))[0])


class ExportedMaps(nn.Module):
    """The maps of a detector, as its own network gives them.

    Args:
        session: of a :class:`monai_dgm.engines.runtimes.graphs.DetectorGraph`.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def forward(self, images: Tensor) -> dict[str, list[Tensor]]:
        """(B, C, S, S) -> ``classification`` and ``box_regression`` maps of each level."""
        maps = [torch.from_numpy(one) for one in self.session(as_array(images))]
        levels = len(maps) // 2
        return {"classification": maps[:levels], "box_regression": maps[levels:]}


@dataclass(frozen=True)
class ExportedLungSegmentor(LungSegmentor):
    """A lung segmentor in another runtime; its graph resizes, and makes the mirrored passes.

    Attributes:
        session: of a :class:`monai_dgm.engines.runtimes.graphs.LungsGraph`.
    """

    session: Session | None = None

    def examine(self, image: Tensor) -> tuple[NDArray[np.float32], list[tuple[str, float]]]:
        """Lung probability and upright check of (B, 1, S, S), as in :class:`LungSegmentor`."""
        assert self.session is not None
        planes, *scores = self.session(as_array(image))
        check = self.upright
        turns = [check.judged(one) for one in scores[0].astype(np.float64)] if check else [("", 0.0)] * len(image)
        return planes[:, 0], turns

    def probability(self, image: Tensor) -> NDArray[np.float32]:
        """As in :class:`LungSegmentor`."""
        return self.examine(image)[0]

    def turned(self, image: Tensor) -> list[tuple[str, float]]:
        """As in :class:`LungSegmentor`."""
        return self.examine(image)[1]


def exported_decomposer(weights: str | os.PathLike[str], runtime: str, network: nn.Module) -> nn.Module:
    """A residue system in another runtime; arguments and errors as :func:`open_export`."""
    return ExportedDecomposer(open_export("decomposer", weights, runtime, network)).eval()


def exported_lungs(segmentor: LungSegmentor, weights: str | os.PathLike[str], runtime: str) -> LungSegmentor:
    """A loaded lung segmentor in another runtime; errors as :func:`open_export`."""
    session = open_export("lungs", weights, runtime, segmentor.network)
    values = {name: getattr(segmentor, name) for name in ("network", "size", "reference", "settings", "upright")}
    return ExportedLungSegmentor(**values, session=session)


def exported_channel_model(
    model: ChannelModel, kind: Kind, weights: str | os.PathLike[str], runtime: str
) -> ChannelModel:
    """A loaded detector or classifier in another runtime; errors as :func:`open_export`.

    Of a detector only the network changes: anchors, decoding and suppression of its boxes are the same code.
    """
    session = open_export(kind, weights, runtime, model.network)
    if kind == "classifier":
        return replace(model, network=ExportedNetwork(session))
    detector = copy.copy(model.network)
    detector.use_maps(ExportedMaps(session))
    return replace(model, network=detector)
