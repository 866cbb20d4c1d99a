"""Every runtime says of a radiograph what PyTorch says of it, up to rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_dgm.data.examples import example_radiographs
from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.engines.pipeline_loading import load_pipeline
from monai_dgm.engines.radiograph_result import RadiographResult
from monai_dgm.engines.runtimes.use import use_runtime
from monai_dgm.readers.read import read_radiograph
from monai_dgm.transforms.preparation import PreparedRadiograph, prepare
from tests.engines.written_radiographs import write_png

PLANES = 2e-5  # of the [-1, 1] scale; the largest difference that was seen is 3e-6
PIXELS = 1e-3  # of boxes, in pixels of the original; 2e-4 was seen
SHIPPED = {
    "decomposer": "dgm",
    "lungs": "lung_segmentation",
    "detector": "opacity_detection",
    "classifier": "opacity_classification",
}
RUNTIMES = [pytest.param(name, id=name) for name in ("openvino", "onnxruntime")]


def load(paths: dict[str, Path], runtime: str) -> RadiographPipeline:
    pytest.importorskip(runtime)
    return use_runtime(load_pipeline(**{f"{name}_path": path for name, path in paths.items()}), runtime)


def results(pipeline: RadiographPipeline, prepared: list[PreparedRadiograph]) -> list[RadiographResult]:
    found = [one for i in range(0, len(prepared), 5) for one in pipeline(prepared[i : i + 5])]
    assert all(isinstance(one, RadiographResult) for one in found)
    return found  # type: ignore[return-value]


def assert_equal(ours: RadiographResult, theirs: RadiographResult) -> None:
    mine, other = ours.decomposition, theirs.decomposition
    assert mine is not None and other is not None and ours.opacities is not None and theirs.opacities is not None
    np.testing.assert_allclose(other.normal, mine.normal, rtol=0, atol=PLANES)
    np.testing.assert_allclose(other.residue, mine.residue, rtol=0, atol=PLANES)
    np.testing.assert_allclose(other.probability, mine.probability, rtol=0, atol=PLANES)
    np.testing.assert_allclose(theirs.features, ours.features, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(theirs.lung_probability, ours.lung_probability, rtol=0, atol=PLANES)
    np.testing.assert_allclose(theirs.class_probability, ours.class_probability, rtol=0, atol=PLANES)
    assert np.mean(other.saliency.mask != mine.saliency.mask) < 1e-3
    assert theirs.chest_check.looks_like_chest == ours.chest_check.looks_like_chest
    assert len(theirs.opacities.boxes) == len(ours.opacities.boxes)
    np.testing.assert_allclose(theirs.opacities.scores, ours.opacities.scores, rtol=0, atol=PLANES)
    np.testing.assert_allclose(theirs.opacities.boxes, ours.opacities.boxes, rtol=0, atol=PIXELS)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_small_models_on_generated_sizes(runtime: str, models: dict[str, Path], exports: Path, tmp_path: Path) -> None:
    ours, theirs = load(models, "torch"), load(models, runtime)
    sizes = [(64, 64), (97, 31), (33, 250), (512, 400), (16, 17)]
    generator = np.random.default_rng(5)
    files = [tmp_path / f"{rows}x{cols}.png" for rows, cols in sizes]
    for file, size in zip(files, sizes, strict=True):
        write_png(file, generator.integers(0, 256, size, np.uint8))
    prepared = [prepare(read_radiograph(str(file)), ours.sides) for file in files]
    assert type(theirs.decomposer) is not type(ours.decomposer)
    for mine, other in zip(results(ours, prepared), results(theirs, prepared), strict=True):
        assert_equal(mine, other)


@pytest.fixture(scope="module")
def shipped(repository: Path) -> dict[str, Path]:
    """Paths of the weights that ship."""
    return {name: repository / "bundles" / b / "models/shipped/model.safetensors" for name, b in SHIPPED.items()}


@pytest.fixture(scope="module")
def packaged(shipped: dict[str, Path]) -> tuple[list[PreparedRadiograph], list[RadiographResult]]:
    """Every packaged radiograph, and what PyTorch says of it."""
    pipeline = load(shipped, "torch")
    files = sorted((example_radiographs() / "images").glob("*.png"))
    assert len(files) == 24
    prepared = [prepare(read_radiograph(str(file)), pipeline.sides) for file in files]
    return prepared, results(pipeline, prepared)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_shipped_models_on_every_packaged_radiograph(
    runtime: str,
    exports: Path,
    shipped: dict[str, Path],
    packaged: tuple[list[PreparedRadiograph], list[RadiographResult]],
) -> None:
    prepared, expected = packaged
    for mine, other in zip(expected, results(load(shipped, runtime), prepared), strict=True):
        assert_equal(mine, other)
