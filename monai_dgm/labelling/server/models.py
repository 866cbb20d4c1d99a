"""The models of a label server: found in the bundles' folders, loaded when first needed, each with its version."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import torch
from torch import nn

from monai_dgm.data.fingerprints import SETTLED_SECONDS
from monai_dgm.engines.files import describe_model
from monai_dgm.engines.lungs.segmentor import LungSegmentor, load_lung_segmentor
from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.engines.pipeline_loading import load_channel_classifier, load_detector
from monai_dgm.engines.residues.channel_model import ChannelModel
from monai_dgm.engines.residues.frozen_decomposer import check_decomposer, load_decomposer
from monai_dgm.engines.runtimes.installed import AUTO, choose_runtime
from monai_dgm.engines.runtimes.use import in_runtime
from monai_dgm.engines.weights import find_weights, read_model_settings
from monai_dgm.errors import InputError, in_one_line
from monai_dgm.labelling.server.http_errors import UnavailableError
from monai_dgm.utils.bundle_files import BUNDLES

__all__ = ["LabellingModels", "Loaded"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Loaded(Generic[T]):
    """A model in evaluation mode, with its settings and version.

    Attributes:
        model: its network, or what holds it.
        settings: of its training, from the JSON file beside the weights.
        version: how labels and results name it: its name and the first digits of the SHA-256 of its weights.
    """

    model: T
    settings: Mapping[str, Any]
    version: str


class LabellingModels:
    """Decomposer, opacity detector, classifier and lung segmentor, where there are weights.

    Args:
        bundles_dir: folder of the bundles; weights are taken from ``<bundle>/models/``.
        paths: of weights that are used instead of a bundle's, by the names of :data:`BUNDLES`.
        device: where they run.
        runtime: of the networks, as in :func:`monai_dgm.engines.runtimes.installed.choose_runtime`.

    Raises:
        InputError: an unknown name in ``paths``, a missing file, an unknown device, or a runtime that cannot be used.
    """

    def __init__(
        self,
        bundles_dir: str | os.PathLike[str],
        paths: Mapping[str, str | os.PathLike[str]] | None = None,
        device: torch.device | str = "cpu",
        runtime: str = "torch",
    ) -> None:
        try:
            self.device = torch.device(device)
        except RuntimeError:
            raise InputError(f"device: expected one such as cpu or cuda:0, got {device}") from None
        self.runtime = choose_runtime(runtime, self.device)
        self._may_differ = runtime == AUTO
        self.paths = {name: Path(find_weights(Path(bundles_dir) / b / "models")) for name, b in BUNDLES.items()}
        for name, path in (paths or {}).items():
            if name not in BUNDLES or not Path(path).is_file():
                raise InputError(f"{name}: expected the weights of one of {', '.join(BUNDLES)}, no such file: {path}")
            self.paths[name] = Path(path)
        self.pipeline = RadiographPipeline(device=self.device)  # has the models that were loaded
        self._lock = threading.RLock()
        self._digests: dict[Path, tuple[tuple[int, int], str]] = {}
        self._loaded: dict[str, Loaded[Any]] = {}
        self._left_out = {name for name in ("classifier", "detector") if name not in (paths or {})} - self._fitting()
        for name in self._left_out:
            logger.warning("%s: left out, it needs the decomposer that it was trained with", name)

    def _fitting(self) -> set[str]:
        """Names of the models that see no residues, were trained with this decomposer, or have no weights."""
        fitting = set()
        for name in ("classifier", "detector"):
            try:
                if self.paths[name].is_file() and self.paths["decomposer"].is_file():
                    check_decomposer(read_model_settings(self.paths[name]), self.paths["decomposer"])
            except InputError:
                continue
            fitting.add(name)
        return fitting

    def has(self, name: str) -> bool:
        """Whether there are weights of a model; a bundle's own that need another decomposer do not count."""
        return name not in self._left_out and self.paths[name].is_file()

    def advice(self, name: str) -> str:
        """How to get a model that is missing, in one line."""
        bundle = BUNDLES[name]
        command = f"python -m monai.bundle run training --config_file bundles/{bundle}/configs/train.json"
        return f"there is no trained {name} in bundles/{bundle}/models; train one: {command}"

    def decomposer(self) -> Loaded[nn.Module]:
        """The residue system.

        Raises:
            UnavailableError: no weights, or some that cannot be used; the reason with their path is logged.
        """
        return self._get("decomposer", self._load_decomposer)

    def detector(self) -> Loaded[ChannelModel] | None:
        """The opacity detector, None where there is none; errors as :meth:`decomposer`."""
        return self._get("detector", self._load_detector) if self.has("detector") else None

    def classifier(self) -> Loaded[ChannelModel] | None:
        """The classifier, None where there is none; errors as :meth:`decomposer`."""
        return self._get("classifier", self._load_classifier) if self.has("classifier") else None

    def lungs(self) -> Loaded[LungSegmentor] | None:
        """The lung segmentor, None where there is none; errors as :meth:`decomposer`."""
        return self._get("lungs", self._load_lungs) if self.has("lungs") else None

    def versions(self) -> dict[str, str | None]:
        """Version of each model, None where there is none. Reads the files, but does not load them."""
        return {name: self._version(name) if self.has(name) else None for name in BUNDLES}

    def replace(self, name: str, path: str | os.PathLike[str]) -> None:
        """Use other weights from now on, such as those of a new training."""
        with self._lock:
            self.paths[name] = Path(path)
            self._left_out.discard(name)
            self._loaded.pop(name, None)

    def _get(self, name: str, load: Callable[[Mapping[str, Any]], T]) -> Loaded[T]:
        with self._lock:
            if name not in self._loaded:
                if not self.has(name):
                    raise UnavailableError(self.advice(name))
                try:
                    settings = read_model_settings(self.paths[name])
                    self._loaded[name] = Loaded(load(settings), settings, self._version(name))
                except UnavailableError:
                    raise
                except (InputError, ValueError, KeyError) as error:
                    logger.error("%s cannot be used: %s", name, in_one_line(error))  # with its path
                    raise UnavailableError(f"the {name} cannot be used; the server's log says why") from error
            return self._loaded[name]

    def _version(self, name: str) -> str:
        loaded = self._loaded.get(name)
        return loaded.version if loaded else f"{name}-{self._digest(self.paths[name])[:12]}"

    def _digest(self, path: Path) -> str:
        """SHA-256 of weights; those that have not changed since are not read again."""
        try:
            found = path.stat()
        except OSError:
            return describe_model(path)["sha256"]  # says what is wrong
        state, known = (found.st_size, found.st_mtime_ns), self._digests.get(path)
        if known is not None and known[0] == state:
            return known[1]
        digest = describe_model(path)["sha256"]
        if time.time() - found.st_mtime > SETTLED_SECONDS:
            self._digests[path] = (state, digest)
        return digest

    def _load_decomposer(self, settings: Mapping[str, Any]) -> nn.Module:
        decomposer = load_decomposer(self.paths["decomposer"], self.device)
        decomposer = self._in_runtime("decomposer", decomposer)
        self.pipeline.use_decomposer(decomposer, int(settings["image_size"]))
        return decomposer

    def _load_detector(self, settings: Mapping[str, Any]) -> ChannelModel:
        check_decomposer(settings, self.paths["decomposer"])
        self.pipeline.detector = self._in_runtime("detector", load_detector(self.paths["detector"], self.device))
        return self.pipeline.detector

    def _load_classifier(self, settings: Mapping[str, Any]) -> ChannelModel:
        check_decomposer(settings, self.paths["decomposer"])
        classifier = load_channel_classifier(self.paths["classifier"], self.device)
        self.pipeline.classifier = self._in_runtime("classifier", classifier)
        return self.pipeline.classifier

    def _load_lungs(self, settings: Mapping[str, Any]) -> LungSegmentor:
        self.pipeline.lungs = self._in_runtime("lungs", load_lung_segmentor(self.paths["lungs"], self.device))
        return self.pipeline.lungs

    def _in_runtime(self, name: str, model: T) -> T:
        """A loaded model in the runtime of this server; in PyTorch where nobody asked for that one and it fails."""
        try:
            return cast(T, in_runtime(name, model, str(self.paths[name]), self.runtime))
        except InputError as error:
            if not self._may_differ:
                raise
            logger.warning("runtime of the %s: torch, since %s failed: %s", name, self.runtime, in_one_line(error))
            return model
