"""The models of a pipeline in another runtime."""

from __future__ import annotations

import logging
from typing import Any

from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.engines.runtimes.installed import AUTO, choose_runtime
from monai_dgm.engines.runtimes.networks import exported_channel_model, exported_decomposer, exported_lungs
from monai_dgm.errors import InputError

__all__ = ["use_runtime"]

logger = logging.getLogger(__name__)


def use_runtime(
    pipeline: RadiographPipeline, runtime: str | None = AUTO, num_radiographs: int | None = None
) -> RadiographPipeline:
    """Let the models of a pipeline run in a runtime: all of them or, where one cannot be exported, none.

    Members that only serve the uncertainty stay in PyTorch.

    Args:
        pipeline: whose models came from its ``model_files``, in PyTorch; it is changed.
        runtime, num_radiographs: as in :func:`monai_dgm.engines.runtimes.installed.choose_runtime`. "auto" goes on
            with PyTorch where an export fails, and says so in the log.

    Returns:
        the same pipeline.

    Raises:
        InputError: a runtime that cannot be used, or an export that cannot be made, written or loaded.
    """
    chosen = choose_runtime(runtime, pipeline.device, num_radiographs)
    if chosen == "torch":
        return pipeline
    made: dict[str, Any] = {}
    try:
        for name, path in pipeline.model_files.items():
            made[name] = in_runtime(name, getattr(pipeline, name), path, chosen)
    except InputError as error:
        if (runtime or AUTO) != AUTO:
            raise
        logger.warning("runtime of the networks: torch, since %s failed: %s", chosen, error)
        return pipeline
    for name, model in made.items():
        setattr(pipeline, name, model)
    return pipeline


def in_runtime(name: str, model: Any, weights: str, runtime: str) -> Any:
    """One model of a pipeline, by its name there, in a runtime; errors as :func:`use_runtime`."""
    if runtime == "torch":
        return model
    if name == "decomposer":
        return exported_decomposer(weights, runtime, model)
    if name == "lungs":
        return exported_lungs(model, weights, runtime)
    return exported_channel_model(model, "detector" if name == "detector" else "classifier", weights, runtime)
