"""MUNIT's step: the losses written out, and the style that inference takes."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.engines.training.systems.small_systems import make_batch, munit


def test_losses_are_those_of_the_authors_written_out() -> None:
    step, batch = munit(), make_batch()
    x, y = batch["image"][1:3], batch["image"][[0, 3]]
    network, discriminators = copy.deepcopy(step.network), copy.deepcopy(step.discriminator)
    torch.manual_seed(3)
    report = step(batch)
    torch.manual_seed(3)
    style_x, style_y = torch.randn(2, 8), torch.randn(2, 8)
    distance = torch.nn.functional.l1_loss
    with torch.no_grad():
        a, b = network.abnormal, network.normal
        (content_x, own_x), (content_y, own_y) = a.encode(x), b.encode(y)
        fake_x, fake_y = a.decode(content_y, style_x), b.decode(content_x, style_y)
        (content_y_2, style_x_2), (content_x_2, style_y_2) = a.encode(fake_x), b.encode(fake_y)
        expected = {
            "image_reconstruction": distance(a.decode(content_x, own_x), x) + distance(b.decode(content_y, own_y), y),
            "style": distance(style_x_2, style_x) + distance(style_y_2, style_y),
            "content": distance(content_x_2, content_x) + distance(content_y_2, content_y),
            "cycle": distance(a.decode(content_x_2, own_x), x) + distance(b.decode(content_y_2, own_y), y),
            "adversarial": sum(((s - 1) ** 2).mean() for s in discriminators["abnormal"](fake_x))
            + sum(((s - 1) ** 2).mean() for s in discriminators["normal"](fake_y)),
        }
        judged = torch.zeros(())
        for name, real, fake in (("abnormal", x, fake_x), ("normal", y, fake_y)):
            judged = judged + sum(((s - 1) ** 2).mean() for s in discriminators[name](real))
            judged = judged + sum((s**2).mean() for s in discriminators[name](fake))
    weights = {"image_reconstruction": 10, "style": 1, "content": 1, "cycle": 10, "adversarial": 1}
    expected["loss"] = sum(weights[name] * value for name, value in expected.items())
    expected["discriminator"] = judged
    for name, value in expected.items():
        torch.testing.assert_close(report[name], value, rtol=1e-3, atol=1e-4)


def test_without_a_weight_there_is_no_cycle() -> None:
    assert "cycle" not in munit(weights={"cycle": 0.0})(make_batch())


def test_the_style_of_inference_is_the_mean_of_normal_images() -> None:
    step, batch = munit(), make_batch()
    with torch.no_grad():
        _, styles = step.network.normal.encode(batch["image"][[0, 3]])
    step(batch)
    torch.testing.assert_close(step.network.normal_style, 0.01 * styles.mean(0), rtol=1e-3, atol=1e-6)


def test_reconstruction_improves() -> None:
    step, batch = munit(), make_batch()
    reports = [step(batch) for _ in range(15)]
    assert reports[-1]["image_reconstruction"] < 0.95 * reports[0]["image_reconstruction"]


def test_weights_of_terms_that_there_are_not() -> None:
    with pytest.raises(ValueError, match="weights: expected terms of adversarial, image, style, content, cycle"):
        munit(weights={"identity": 1.0})
