"""Labels mixed with a teacher's probabilities."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from monai_dgm.engines.classification.soft_labels import SoftLabels, load_teacher
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
    mixed = SoftLabels(Brightness(), 0.3)(given)
    expected = 0.7 * loss(logits, given["label"].float()) + 0.3 * loss(logits, taught)
    torch.testing.assert_close(loss(logits, mixed["label"]), expected)
    assert mixed["image"] is given["image"] and given["label"].dtype == torch.int64  # the batch itself stays


def test_without_teacher_or_weight_labels_stay() -> None:
    given = batch()
    assert SoftLabels(None, 0.7)(given) is given
    assert torch.equal(SoftLabels(Brightness(), 0.0)(given)["label"], given["label"].float())
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            SoftLabels(None, wrong)


def test_teacher_is_frozen_and_of_the_same_task_and_channels(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    network = build_classifier("densenet_small")
    save_weights(network.state_dict(), path)
    told = {"architecture": "densenet_small", "task": "abnormality", "channels": ["image"], "image_size": 64}
    path.with_suffix(".json").write_text(json.dumps(told))
    teacher = load_teacher(path, "abnormality", ["image"])
    assert teacher is not None and not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    image = torch.randn(2, 1, 64, 64)
    torch.testing.assert_close(teacher(image), network.eval()(image))
    assert load_teacher(None, "abnormality", ["image"]) is None
    for task, channels in (("opacity", ["image"]), ("abnormality", ["image", "residue"])):
        with pytest.raises(InputError, match=r"model\.pt: expected a classifier for .* got one for abnormality"):
            load_teacher(path, task, channels)
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match="expected a classifier"):
        load_teacher(path, "abnormality", ["image"])
