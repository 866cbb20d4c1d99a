"""Labels mixed with teachers' probabilities."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from monai_dgm.data.fingerprints import hash_file
from monai_dgm.engines.classification.classifier import SoftLabels, load_teachers, teachers_sha256
from monai_dgm.engines.weights import save_weights
from monai_dgm.errors import InputError
from monai_dgm.networks.classifiers import build_classifier


class Brightness(nn.Module):
    """Its logit is the mean of the image."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.mean(dim=(1, 2, 3))[:, None]


def batch() -> dict[str, torch.Tensor]:
    return {"image": torch.randn(6, 1, 8, 8), "label": torch.tensor([0, 1, 0, 1, 0, 1])}


def test_loss_is_the_weighted_sum_of_both() -> None:
    given, logits = batch(), torch.randn(6)
    loss = nn.functional.binary_cross_entropy_with_logits
    taught = torch.sigmoid(given["image"].mean(dim=(1, 2, 3)))
    mixed = SoftLabels([Brightness()], 0.3)(given)
    expected = 0.7 * loss(logits, given["label"].float()) + 0.3 * loss(logits, taught)
    torch.testing.assert_close(loss(logits, mixed["label"]), expected)
    assert mixed["image"] is given["image"] and given["label"].dtype == torch.int64  # the batch itself stays


def test_several_teachers_teach_their_mean_probability() -> None:
    class Darkness(Brightness):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return -2 * super().forward(image)

    given = batch()
    logit = given["image"].mean(dim=(1, 2, 3))
    expected = (torch.sigmoid(logit) + torch.sigmoid(-2 * logit)) / 2
    torch.testing.assert_close(SoftLabels([Brightness(), Darkness()], 1.0)(given)["label"], expected)


def test_teachers_may_look_at_the_mirror_image_as_well() -> None:
    class LeftBrightness(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image[..., :4].mean(dim=(1, 2, 3))[:, None]

    given = batch()
    left, right = (given["image"][..., half].mean(dim=(1, 2, 3)) for half in (slice(0, 4), slice(4, 8)))
    expected = (torch.sigmoid(left) + torch.sigmoid(right)) / 2
    taught = SoftLabels([LeftBrightness(), LeftBrightness()], 1.0, mirrored=True)(given)
    torch.testing.assert_close(taught["label"], expected)
    assert taught["image"] is given["image"]


def test_without_teacher_or_weight_labels_stay() -> None:
    given = batch()
    assert SoftLabels([], 0.7)(given) is given
    assert torch.equal(SoftLabels([Brightness()], 0.0)(given)["label"], given["label"].float())
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            SoftLabels([], wrong)


def test_teacher_is_frozen_and_of_the_same_task_and_channels(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    network = build_classifier("densenet_small")
    save_weights(network.state_dict(), path)
    told = {"architecture": "densenet_small", "task": "abnormality", "channels": ["image"], "image_size": 64}
    path.with_suffix(".json").write_text(json.dumps(told))
    (teacher,) = load_teachers(str(path), "abnormality", ["image"])
    assert not teacher.training and teachers_sha256([str(path)] * 2) == [hash_file(path)] * 2
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    image = torch.randn(2, 1, 64, 64)
    torch.testing.assert_close(teacher(image), network.eval()(image))
    assert load_teachers(None, "abnormality", ["image"]) == [] == teachers_sha256(None)
    assert len(load_teachers([str(path), str(path)], "abnormality", ["image"])) == 2
    for task, channels in (("opacity", ["image"]), ("abnormality", ["image", "residue"])):
        with pytest.raises(InputError, match=r"model\.pt: expected a classifier for .* got one for abnormality"):
            load_teachers(str(path), task, channels)
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match="expected a classifier"):
        load_teachers(str(path), "abnormality", ["image"])
