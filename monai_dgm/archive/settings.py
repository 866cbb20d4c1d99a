"""What the results of a run depend on, beside the images: models and settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from monai_dgm import __version__
from monai_dgm.engines.decomposition.values import BURDEN_THRESHOLD
from monai_dgm.engines.files import describe_model
from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.engines.pipeline_loading import load_pipeline
from monai_dgm.engines.runtimes.installed import choose_runtime
from monai_dgm.engines.runtimes.use import use_runtime
from monai_dgm.engines.weights import read_model_settings
from monai_dgm.errors import InputError
from monai_dgm.transforms.saliency import ThresholdRule

__all__ = ["MODELS", "ArchiveSettings"]

MODELS = ("decomposer", "lungs", "detector")


@dataclass(frozen=True)
class ArchiveSettings:
    """Models and settings of a run. It pickles; the models themselves are loaded by whoever runs them.

    Attributes:
        weights: files of the weights by the names of :data:`MODELS`; on a cluster, every machine has them.
        sha256: of these files.
        threshold: of the saliency.
        burden_threshold: of the smoothed |a| that counts as salient in the residue burden.
        score_threshold: least score of a listed opacity box.
        runtime: of the networks.
        device: where they run.
        batch_size: radiographs that the networks take at a time.
        stow: address that gets DICOM objects; None for none.
        key: SHA-256 of what results depend on: images that were done by other models or settings are done again.
    """

    weights: Mapping[str, str]
    sha256: Mapping[str, str]
    threshold: ThresholdRule | float = "otsu"
    burden_threshold: float = BURDEN_THRESHOLD
    score_threshold: float = 0.0
    runtime: str = "torch"
    device: str = "cpu"
    batch_size: int = 4
    stow: str | None = None
    key: str = field(init=False)

    def __post_init__(self) -> None:
        values = {
            "sha256": dict(self.sha256),
            "threshold": self.threshold,
            "burden_threshold": self.burden_threshold,
            "score_threshold": self.score_threshold,
            "runtime": self.runtime,
            "stow": self.stow,
        }
        text = json.dumps(values, sort_keys=True)
        object.__setattr__(self, "key", hashlib.sha256(text.encode()).hexdigest())

    @classmethod
    def of(
        cls, weights: Mapping[str, str], runtime: str = "auto", device: str = "cpu", **settings: Any
    ) -> ArchiveSettings:
        """The settings of some models.

        Args:
            weights: files by the names of :data:`MODELS`; a lung segmentor or detector that is not there is left out.
            runtime: "auto" takes the fastest that is installed.
            device, settings: as the attributes; thresholds that are not given are those of the models' own settings.

        Raises:
            InputError: no decomposer, or weights without readable settings.
        """
        there = {name: path for name, path in weights.items() if name == "decomposer" or Path(path).is_file()}
        if "decomposer" not in there:
            raise InputError("weights: expected those of a decomposer, got none")
        own = read_model_settings(there["decomposer"])
        found = {"burden_threshold": own.get("burden_threshold", BURDEN_THRESHOLD)}
        if "detector" in there:
            found["score_threshold"] = float(read_model_settings(there["detector"]).get("score_threshold") or 0.0)
        digests = {name: describe_model(path)["sha256"] for name, path in there.items()}
        chosen = choose_runtime(runtime, device)
        return cls(there, digests, runtime=chosen, device=device, **{**found, **settings})

    @cached_property
    def sides(self) -> tuple[int, ...]:
        """Sides in pixels of the networks' inputs, as :attr:`RadiographPipeline.sides`, without loading them."""
        sized = (self.weights[name] for name in ("decomposer", "detector") if name in self.weights)
        return tuple(dict.fromkeys(int(read_model_settings(path)["image_size"]) for path in sized))

    def load(self) -> RadiographPipeline:
        """The pipeline.

        Raises:
            InputError: weights that cannot be used, or that are others than the settings say.
        """
        for name, path in self.weights.items():
            if describe_model(path)["sha256"] != self.sha256[name]:
                raise InputError(f"weights of the {name}: expected the same file everywhere, here is another")
        paths: dict[str, Any] = {f"{name}_path": path for name, path in self.weights.items()}
        pipeline = load_pipeline(**paths, threshold=self.threshold, device=self.device)
        missing = [name for name in self.weights if name not in pipeline.model_files]
        if missing:
            raise InputError(f"{missing[0]}: expected one that was trained with this decomposer")
        return use_runtime(pipeline, self.runtime)

    def columns(self) -> dict[str, str | None]:
        """What each row says of them."""
        digests = {f"{name}_sha256": self.sha256.get(name) for name in MODELS}
        return {**digests, "settings_sha256": self.key, "runtime": self.runtime, "version": f"monai-dgm {__version__}"}

    def model_versions(self) -> dict[str, str | None]:
        """Versions of the models as labels and DICOM objects name them."""
        return {name: f"{name}-{self.sha256[name][:12]}" if name in self.sha256 else None for name in MODELS}
