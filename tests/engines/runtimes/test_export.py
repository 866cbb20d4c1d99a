"""An exported model takes pixels and says what the pipeline says of the same radiograph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from monai_dgm.data.examples import example_radiographs
from monai_dgm.engines.pipeline_loading import load_pipeline
from monai_dgm.engines.residues.decomposed_radiograph import Decomposition
from monai_dgm.engines.runtimes.export import KINDS, export_model, kind_of
from monai_dgm.engines.runtimes.graphs import resample_square
from monai_dgm.engines.runtimes.pixel_graph import otsu_threshold, prepare_pixels
from monai_dgm.engines.runtimes.sessions import open_session
from monai_dgm.engines.weights import read_model_settings
from monai_dgm.errors import InputError
from monai_dgm.readers.radiograph import Radiograph
from monai_dgm.readers.read import read_radiograph
from monai_dgm.transforms.geometry import prepare_radiograph
from monai_dgm.transforms.preparation import prepare, resample_planes
from tests.engines.runtimes.models import SIZE

PLANES = 5e-5  # of the [-1, 1] scale, percentiles and resizing included; the largest difference that was seen is 2.4e-5
SHAPES = [(64, 64), (97, 31), (33, 250), (512, 400), (5, 7), (1200, 801)]


def pixels_of(shape: tuple[int, int], seed: int = 0) -> NDArray[np.float32]:
    """Smooth and noisy at once, 0 to 4095."""
    generator = np.random.default_rng(seed)
    rows, cols = np.linspace(0, 3, shape[0])[:, None], np.linspace(0, 4, shape[1])[None]
    mixed = np.sin(rows + cols) + 0.3 * generator.normal(size=shape)
    return (2048 + 800 * mixed).clip(0, 4095).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_pixels_are_prepared_as_training_prepares_them(shape: tuple[int, int]) -> None:
    pixels = pixels_of(shape)
    image, geometry = prepare_radiograph(pixels, SIZE)
    ours, value_range, content = prepare_pixels(torch.from_numpy(pixels), SIZE, (0.5, 99.5))
    np.testing.assert_allclose(ours[0].numpy(), image, rtol=0, atol=PLANES)
    np.testing.assert_allclose(value_range.numpy(), [geometry.low, geometry.high], rtol=1e-6)
    inside = np.zeros((SIZE, SIZE), dtype=bool)
    inside[geometry.content] = True
    assert np.array_equal(content.numpy(), inside)


def test_pixels_that_are_nearly_all_equal_take_the_full_range() -> None:
    pixels = np.zeros((64, 64), dtype=np.float32)
    pixels[3, 4] = 9.0
    image, geometry = prepare_radiograph(pixels, SIZE)
    ours, value_range, _ = prepare_pixels(torch.from_numpy(pixels), SIZE, (0.5, 99.5))
    np.testing.assert_allclose(ours[0].numpy(), image, rtol=0, atol=PLANES)
    assert value_range.tolist() == [geometry.low, geometry.high]


def test_pixels_without_contrast_give_no_result() -> None:
    image, _, content = prepare_pixels(torch.full((50, 40), 7.0), SIZE, (0.5, 99.5))
    assert torch.isnan(image[0, 0][content]).all()


@pytest.mark.parametrize("size", [32, 48, 96])
def test_planes_are_resampled_as_the_pipeline_resamples_them(size: int) -> None:
    planes = torch.rand(2, 1, 48, 48)
    torch.testing.assert_close(resample_square(planes, size), resample_planes(planes, size), rtol=0, atol=1e-6)


def test_otsu_is_that_of_scikit_image() -> None:
    for seed in range(20):
        generator = np.random.default_rng(seed)
        values = generator.gamma(1.5, 0.1, (SIZE, SIZE)).astype(np.float32)
        counted = np.zeros((SIZE, SIZE), dtype=bool)
        counted[10:50, 5 : 30 + seed] = True
        ours = float(otsu_threshold(torch.from_numpy(values), torch.from_numpy(counted)))
        assert ours == pytest.approx(float(threshold_otsu(values[counted])), abs=1e-5)
    blank = otsu_threshold(torch.full((8, 8), 0.01), torch.ones(8, 8, dtype=torch.bool))
    assert float(blank) == pytest.approx(0.04)


def assert_exported_decomposer_agrees(found: dict[str, NDArray[Any]], expected: Decomposition) -> None:
    np.testing.assert_allclose(found["image"][0, 0], expected.image, rtol=0, atol=PLANES)
    # what the input differs by in its last digits, a network may give back a little larger
    np.testing.assert_allclose(found["prediction"][0, 0], expected.normal, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found["prediction"][0, 1], expected.residue, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found["prediction"][0, 2, 0, 0], expected.probability, rtol=0, atol=1e-4)
    saliency = expected.saliency
    assert float(found["saliency_threshold"]) == pytest.approx(saliency.threshold, abs=1e-3)
    differing = np.abs(np.where(saliency.mask, found["heat"], 0) - saliency.heat) > 1e-3
    assert differing.mean() < 1e-3


def run_decomposer(session: Any, names: tuple[str, ...], pixels: NDArray[np.float32], box: Any) -> dict[str, Any]:
    values = session(pixels.astype(np.float32), np.asarray(box, dtype=np.float32))
    return dict(zip(names, values, strict=True))


NAMES = ("prediction", "features", "image", "value_range", "strength", "saliency_threshold", "heat")


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_decomposer_says_what_the_pipeline_says(runtime: str, models: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip(runtime)
    session = open_session(export_model(models["decomposer"], tmp_path, runtime))
    pipeline = load_pipeline(models["decomposer"])
    for shape in SHAPES:
        pixels = pixels_of(shape)
        (result,) = pipeline([prepare(Radiograph(pixels, None, "png", None, None, None, 16), pipeline.sides)])
        found = run_decomposer(session, NAMES, pixels, [0, 0, SIZE, SIZE])
        assert_exported_decomposer_agrees(found, result.decomposition)  # type: ignore[union-attr, arg-type]


@pytest.fixture(scope="module")
def packaged(repository: Path) -> list[tuple[Radiograph, Decomposition]]:
    """Every packaged radiograph, and what the pipeline says of it with the weights that ship."""
    weights, lungs = (
        repository / "bundles" / bundle / "models/shipped/model.safetensors" for bundle in ("dgm", "lung_segmentation")
    )
    pipeline = load_pipeline(weights, lungs)
    radiographs = [read_radiograph(str(file)) for file in sorted((example_radiographs() / "images").glob("*.png"))]
    assert len(radiographs) == 24
    results = [pipeline([prepare(radiograph, pipeline.sides)])[0] for radiograph in radiographs]
    return [(one, result.decomposition) for one, result in zip(radiographs, results, strict=True)]  # type: ignore[union-attr, misc]


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_the_shipped_decomposer_on_every_packaged_radiograph(
    runtime: str, packaged: list[tuple[Radiograph, Decomposition]], repository: Path, tmp_path: Path
) -> None:
    pytest.importorskip(runtime)
    weights = repository / "bundles/dgm/models/shipped/model.safetensors"
    session = open_session(export_model(weights, tmp_path, runtime))
    for radiograph, expected in packaged:
        found = run_decomposer(session, NAMES, radiograph.pixels, expected.saliency.lung_box)  # type: ignore[union-attr]
        assert_exported_decomposer_agrees(found, expected)


@pytest.mark.parametrize("kind", ["lungs", "detector", "classifier"])
def test_the_other_models_take_pixels_too(kind: str, models: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    session = open_session(export_model(models[kind], tmp_path, "onnxruntime"))
    pipeline = load_pipeline(**{f"{kind}_path": models[kind]})
    pixels = pixels_of((120, 90))
    prepared = prepare(Radiograph(pixels, None, "png", None, None, None, 16), pipeline.sides)
    first = session(pixels)[0]
    if kind == "lungs":
        (result,) = pipeline.find_lungs([prepared])
        np.testing.assert_allclose(first[0, 0], result.lung_probability, rtol=0, atol=1e-4)
    elif kind == "classifier":
        (probability,) = pipeline.classify([prepared], [None])
        assert 1 / (1 + np.exp(-float(first[0, 0]))) == pytest.approx(probability, abs=1e-4)
    else:
        maps = pipeline.required("detector").network.network(torch.from_numpy(prepared.image)[None])
        np.testing.assert_allclose(first, maps["classification"][0].detach().numpy(), rtol=0, atol=1e-3)


def test_the_kind_is_in_the_settings(models: dict[str, Path]) -> None:
    assert tuple(kind_of(read_model_settings(models[kind])) for kind in KINDS) == KINDS


def test_what_cannot_be_exported_is_refused_in_one_line(models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="runtime: expected onnxruntime or openvino to export for, got 'torch'"):
        export_model(models["decomposer"], tmp_path, "torch")
    with pytest.raises(InputError, match="expected the weights of a decomposer"):
        export_model(tmp_path / "none.pt", tmp_path, "onnxruntime")
    settings = models["detector"].with_suffix(".json").read_text().replace('["image"]', '["image", "residue"]')
    (tmp_path / "model.json").write_text(settings)
    with pytest.raises(InputError, match="expected a detector that takes the image alone"):
        export_model(tmp_path / "model.pt", tmp_path, "onnxruntime")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder with room to write it") as caught:
        export_model(models["decomposer"], tmp_path / "file" / "folder", "onnxruntime")
    assert "\n" not in str(caught.value)
