"""The pipeline: every model runs once, the residue is handed on, and what cannot be used is an error for its image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator
from torch import Tensor, nn

from monai_dgm.engines.file_run import FileDataset, collate_files
from monai_dgm.engines.lungs.segmentor import LungSegmentor
from monai_dgm.engines.pipeline import PreparePipelineInput, RadiographPipeline
from monai_dgm.engines.radiograph_result import RadiographResult
from monai_dgm.engines.residues.channel_model import ChannelModel
from monai_dgm.errors import InputError
from monai_dgm.networks.decomposer import Decomposer
from monai_dgm.readers.radiograph import Radiograph
from monai_dgm.transforms.load_radiograph import LoadRadiographd
from monai_dgm.transforms.preparation import PreparedRadiograph, prepare, resample_planes
from monai_dgm.transforms.saliency import compute_saliency, saliency_to_boxes

SIZE, LARGE = 32, 64


def radiograph(seed: int = 0, rows: int = 90, cols: int = 60) -> Radiograph:
    pixels = np.random.default_rng(seed).uniform(20, 220, (rows, cols)).astype(np.float32)
    return Radiograph(pixels, None, "png", None, None, None, 8)


class System(nn.Module):
    """A residue system without encoder and probability, that follows the image and counts its calls."""

    calls = 0

    def forward(self, image: Tensor) -> Tensor:
        self.calls += 1
        return torch.cat((image, torch.relu(image) * 0.9, torch.full_like(image, torch.nan)), dim=1)


class Seen(nn.Module):
    """A detector of one box in the middle, and a classifier of logit 0, that keep what they were shown."""

    def detect(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        self.image = image
        return [(torch.tensor([[20.0, 20.0, 40.0, 40.0]]), torch.tensor([0.5]))] * len(image)

    def forward(self, image: Tensor) -> Tensor:
        self.image = image
        return torch.zeros(len(image), 1)


class Dark(nn.Module):
    """Lungs are what is dark."""

    def forward(self, image: Tensor) -> Tensor:
        return -20.0 * (image + 0.3)


def channel_model(size: int = LARGE, *channels: str) -> ChannelModel:
    return ChannelModel(Seen(), size, channels or ("image", "residue"))


def good(results: list[RadiographResult | InputError]) -> list[RadiographResult]:
    assert all(isinstance(result, RadiographResult) for result in results)
    return results  # type: ignore[return-value]


def test_the_residue_system_runs_once_and_its_residue_is_handed_on() -> None:
    system, detector, classifier = System(), channel_model(), channel_model(SIZE)
    pipeline = RadiographPipeline(system, SIZE, detector=detector, classifier=classifier)
    assert pipeline.sides == (SIZE, LARGE)
    batch = [prepare(radiograph(seed), pipeline.sides) for seed in range(3)]
    results = good(pipeline(batch))
    assert system.calls == 1
    residues = np.stack([result.residue for result in results if result.residue is not None])
    assert residues.shape == (3, SIZE, SIZE) and residues.max() > 0.5
    handed = torch.from_numpy(residues)[:, None].half().float()
    assert torch.equal(classifier.network.image[:, 1:], handed)
    assert torch.equal(detector.network.image[:, 1:], resample_planes(handed, LARGE))
    assert torch.equal(detector.network.image[:, 0, :, :].reshape(3, -1)[:, 0], torch.full((3,), -1.0))
    for result, prepared in zip(results, batch, strict=True):
        assert result.opacities is not None and result.class_probability == 0.5 and result.features is None
        expected = prepared.at(LARGE).geometry.boxes_to_original([[20.0, 20.0, 40.0, 40.0]])
        np.testing.assert_allclose(result.opacities.boxes, expected)
        assert len(result.opacities.above(0.6).scores) == 0 and len(result.opacities.above(0.5).scores) == 1


def test_the_encoder_runs_once_and_its_features_are_those_of_its_last_stage() -> None:
    torch.manual_seed(0)
    decomposer, calls = Decomposer(2, 1).eval(), []
    decomposer.residue_encoder.register_forward_hook(lambda *_: calls.append(1))
    pipeline = RadiographPipeline(decomposer, SIZE, detector=channel_model(SIZE))
    batch = [prepare(radiograph(seed), SIZE) for seed in range(2)]
    results = good(pipeline(batch))
    assert len(calls) == 1
    with torch.inference_mode():
        code = decomposer.residue_encoder(torch.stack([torch.from_numpy(one.image) for one in batch]))[-1]
        prediction = decomposer(torch.stack([torch.from_numpy(one.image) for one in batch]))
    for i, result in enumerate(results):
        assert result.features is not None and result.decomposition is not None
        np.testing.assert_allclose(result.features, code[i].mean(dim=(1, 2)), rtol=1e-4, atol=1e-6)
        assert result.decomposition.probability == pytest.approx(prediction[i, 2, 0, 0].item(), abs=1e-6)
    assert len(decomposer.residue_encoder._forward_hooks) == 1  # the pipeline's own is gone


def test_a_batch_gives_the_same_as_its_images_one_by_one() -> None:
    torch.manual_seed(0)
    pipeline = RadiographPipeline(Decomposer(2, 1), SIZE, LungSegmentor(Dark(), SIZE, None, {}))
    batch = [prepare(radiograph(0, *shape), SIZE) for shape in ((200, 120), (120, 200), (40, 33))]
    for together, prepared in zip(good(pipeline(batch)), batch, strict=True):
        (alone,) = good(pipeline([prepared]))
        assert together.decomposition is not None and alone.decomposition is not None
        np.testing.assert_allclose(together.decomposition.residue, alone.decomposition.residue, atol=1e-5)
        np.testing.assert_allclose(together.features, alone.features, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(together.lung_probability, alone.lung_probability)


def test_the_saliency_is_of_the_threshold_and_of_the_lungs_that_were_found() -> None:
    pixels = np.full((64, 64), 200, dtype=np.float32)
    pixels[12:52, 8:28] = pixels[12:52, 36:56] = 20
    pixels[2:8, 2:8] = 255
    source = Radiograph(pixels, None, "png", None, None, None, 8)
    pipeline = RadiographPipeline(System(), SIZE, LungSegmentor(Dark(), SIZE, None, {}), threshold="li")
    (result,) = good(pipeline([prepare(source, SIZE)]))
    assert result.lung_mask_source == "predicted" and result.prepared.lung_mask is not None
    assert result.decomposition is not None
    expected = compute_saliency(result.decomposition.residue, threshold="li", lung_mask=result.prepared.lung_mask)
    np.testing.assert_array_equal(result.decomposition.saliency.mask, expected.mask)
    np.testing.assert_array_equal(result.decomposition.boxes, saliency_to_boxes(expected.mask, expected.heat)[0])
    given = np.zeros((64, 64), dtype=bool)
    given[10:20, 10:20] = True
    (kept,) = good(pipeline([prepare(source, SIZE, lung_mask=given)]))
    assert kept.lung_mask_source == "given" and kept.prepared.lung_mask is not None
    assert kept.prepared.lung_mask.sum() == 25


def test_a_prediction_that_is_not_finite_fails_its_own_image_alone() -> None:
    class NanFirst(System):
        def forward(self, image: Tensor) -> Tensor:
            prediction = super().forward(image)
            prediction[0, 1, 0, 0] = torch.nan
            return prediction

    detector = channel_model()
    pipeline = RadiographPipeline(NanFirst(), SIZE, detector=detector)
    first, second = pipeline([prepare(radiograph(seed), pipeline.sides) for seed in range(2)])
    assert isinstance(first, InputError) and "expected finite values from the network" in str(first)
    assert isinstance(second, RadiographResult) and second.opacities is not None
    assert len(detector.network.image) == 1


def test_a_system_without_probability_has_results_without_one() -> None:
    (result,) = good(RadiographPipeline(System(), SIZE)([prepare(radiograph(), SIZE)]))
    assert result.decomposition is not None and np.isnan(result.decomposition.probability)


def test_outputs_that_are_unsound_are_errors() -> None:
    class Unsound(Seen):
        def detect(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
            raise FloatingPointError("the detector's maps are not finite (NaN or infinity)")

        def forward(self, image: Tensor) -> Tensor:
            return torch.full((len(image), 1), torch.nan)

    batch = [prepare(radiograph(), SIZE)]
    model = ChannelModel(Unsound(), SIZE)
    with pytest.raises(InputError, match=r"maps are not finite .* are the weights sound\?"):
        RadiographPipeline(detector=model)(batch)
    with pytest.raises(InputError, match="expected finite values from the classifier"):
        RadiographPipeline(classifier=model)(batch)
    with pytest.raises(InputError, match=r"expected the output of a decomposer, a tensor of shape \(1, 3, 32, 32\)"):
        RadiographPipeline(nn.Identity(), SIZE)(batch)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decomposer": System(), "size": 60}, "size: expected a multiple of 32, got 60"),
        ({"decomposer": System()}, "size: expected a multiple of 32, got None"),
        ({"threshold": "mean"}, "threshold: expected 'otsu'"),
        ({"classifier": channel_model()}, "expected a decomposer for the channel residue"),
    ],
)
def test_settings_that_do_not_exist(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RadiographPipeline(**settings)


def test_models_that_are_missing_are_errors_where_they_are_needed() -> None:
    pipeline = RadiographPipeline()
    assert pipeline([]) == []
    for name in ("detector", "classifier"):
        with pytest.raises(InputError, match=f"expected a {name} in the pipeline"):
            pipeline.required(name)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected a decomposer in the pipeline"):
        pipeline.predict([prepare(radiograph(), SIZE)])
    with pytest.raises(InputError, match="expected at least one model"):
        _ = pipeline.sides
    with pytest.raises(InputError, match="channels: expected some of image, residue"):
        channel_model(SIZE, "normal")
    with pytest.raises(InputError, match="expected a decomposer for the channel residue"):
        channel_model().stack([prepare(radiograph(), LARGE)], [None], "cpu")
    lungs = RadiographPipeline(lungs=LungSegmentor(Dark(), SIZE, None, {}))
    assert lungs.sides == (SIZE,)
    (result,) = good(lungs([prepare(radiograph(), SIZE)]))
    assert result.decomposition is result.residue is result.opacities is result.class_probability is None


def test_monais_evaluator_runs_it(sample_dir: Any) -> None:
    images = sorted((sample_dir / "images").iterdir())[:3]
    system = System()
    pipeline = RadiographPipeline(system, SIZE, detector=channel_model())
    items = [{"image": str(path), "image_id": path.stem} for path in images]
    dataset = FileDataset(items, LoadRadiographd("image", pipeline.sides))
    evaluator = SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(dataset, batch_size=3, collate_fn=collate_files),
        network=pipeline,
        prepare_batch=PreparePipelineInput(),
        decollate=False,
    )
    evaluator.run()
    results = good(evaluator.state.output["pred"])
    assert system.calls == 1 and len(results) == 3
    assert [source.image_id for source in evaluator.state.batch["source"]] == [path.stem for path in images]
    assert all(isinstance(result.prepared, PreparedRadiograph) and result.opacities is not None for result in results)
