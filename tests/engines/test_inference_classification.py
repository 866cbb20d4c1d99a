"""Classification of files: the same residue as in training, bad files listed, calls by the threshold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from monai_dgm.data.manifest import load_manifest
from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.engines.residues.channel_model import ChannelModel
from monai_dgm.engines.residues.frozen_decomposer import decomposed_dataset, load_decomposer
from monai_dgm.engines.weights import save_weights
from monai_dgm.errors import InputError
from monai_dgm.networks.classifiers import build_classifier
from monai_dgm.networks.decomposer import Decomposer
from monai_dgm.readers.read import read_radiograph
from monai_dgm.transforms.preparation import prepare
from tests.engines.file_runs import classify_files

SIZE = 32
SETTINGS = {"task": "opacity", "threshold": 0.5}


def pipeline(network: nn.Module, **settings: object) -> RadiographPipeline:
    """A classifier of the image alone."""
    return RadiographPipeline(classifier=ChannelModel(network, SIZE, settings={**SETTINGS, **settings}))


class Mean(nn.Module):
    """Logits that are the mean grey value of the first channel."""

    def forward(self, image: Tensor) -> Tensor:
        return image[:, :1].mean(dim=(2, 3))


@pytest.fixture
def images(sample_dir: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, item in zip(("a", "b", "c"), load_manifest(sample_dir), strict=False):
        (folder / f"{name}.png").write_bytes(Path(item["image"]).read_bytes())
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def test_scores_are_those_of_the_network_that_training_saw(sample_dir: Path, tmp_path: Path) -> None:
    decomposer = Decomposer(base_width=2, num_res_blocks=1)
    for parameter in decomposer.parameters():  # untrained residues are faint
        parameter.data.mul_(1.5)
    weights = tmp_path / "dgm.pt"
    save_weights(decomposer.state_dict(), weights)
    (tmp_path / "dgm.json").write_text(json.dumps({"image_size": 32, "base_width": 2, "num_res_blocks": 1}))
    decomposer, items = load_decomposer(weights), load_manifest(sample_dir)[:3]
    channels = ["image", "residue"]
    dataset = decomposed_dataset(items, channels, SIZE, tmp_path / "cache", decomposer, weights)
    classifier = build_classifier("densenet_small", 2).eval()
    model = ChannelModel(classifier, SIZE, tuple(channels), SETTINGS)
    told = classify_files(items, RadiographPipeline(decomposer, SIZE, classifier=model), tmp_path / "out", batch_size=2)
    with torch.inference_mode():
        expected = torch.sigmoid(classifier(torch.stack([dataset[i]["image"] for i in range(3)])))[:, 0]
    found = torch.tensor([image["opacity_probability"] for image in told["images"]])
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)  # the cache has images in 16 bits
    assert expected.std() > 1e-4


def test_bad_files_are_listed_and_the_others_called_by_the_threshold(images: Path, tmp_path: Path) -> None:
    told = classify_files(images, pipeline(Mean()), tmp_path / "out", batch_size=2)
    assert json.loads((tmp_path / "out" / "scores.json").read_text()) == told
    assert [image["image_id"] for image in told["images"]] == ["a", "b", "c"]
    (failed,) = told["failed"]
    assert failed["file"] == "broken.png" and str(images) not in failed["reason"]
    for image in told["images"]:
        mean = prepare(read_radiograph(str(images / image["file"])), SIZE).image.mean()
        probability = float(torch.sigmoid(torch.tensor(mean)))
        assert image["opacity_probability"] == pytest.approx(probability, abs=1e-5)
        assert image["called"] == ("lung_opacity" if probability >= 0.5 else "no_lung_opacity")
    assert classify_files(images, pipeline(Mean(), threshold=None), tmp_path / "out")["images"][0]["called"] is None


def test_the_outputs_of_an_earlier_run_are_no_input(images: Path) -> None:
    for _ in range(2):
        assert len(classify_files(images, pipeline(Mean()), images)["images"]) == 3


def test_when_nothing_can_be_classified_the_reason_is_the_error(images: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"broken\.png: "):
        classify_files(images / "broken.png", pipeline(Mean()), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["images"] == []


def test_unsound_weights_and_a_missing_decomposer_are_errors(images: Path, tmp_path: Path) -> None:
    class Broken(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return image[:, 0, 0, :1] * torch.nan

    with pytest.raises(InputError, match="are the weights sound"):
        classify_files(images, pipeline(Broken()), tmp_path / "out")
    with pytest.raises(InputError, match="expected a decomposer for the channel residue"):
        RadiographPipeline(classifier=ChannelModel(Mean(), SIZE, ("residue",)))
