"""DRIT's step: who is trained on what, how often, and the losses written out."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_dgm.engines.training.systems.drit import WEIGHTS
from tests.engines.training.systems.small_systems import drit, make_batch


def parts_of(step: Any) -> dict[str, nn.Module]:
    network = step.network
    parts = {"content_encoder": network.content_encoder, "decoder": network.decoder}
    parts |= {f"attributes_{domain}": encoder for domain, encoder in network.attribute_encoders.items()}
    return parts | {f"judge_{name}": module for name, module in step.discriminator.items()}


def updates(step: Any, batch: dict[str, Tensor]) -> list[set[str]]:
    """Which parts had a gradient at each step of an optimiser, in order."""
    seen: list[set[str]] = []

    def record(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        owned = {id(p) for group in optimizer.param_groups for p in group["params"]}
        moved = {
            name
            for name, part in parts_of(step).items()
            if any(id(p) in owned and p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())
        }
        seen.append(moved)

    for optimizer in (step.generator_optimizer, step.discriminator_optimizer):
        optimizer.register_step_pre_hook(record)
    step(batch)
    return seen


def test_order_of_the_updates_and_whom_they_teach() -> None:
    step = drit(content_steps=2)
    batch = make_batch((0, 0, 0, 1, 1, 1))
    everything = {"content_encoder", "decoder", "attributes_normal", "attributes_abnormal"}
    assert updates(step, batch) == [
        {"judge_content"},
        {"judge_content"},
        {"judge_content", "judge_normal", "judge_abnormal"},
        everything,
        {"judge_normal_random", "judge_abnormal_random"},
        {"content_encoder", "decoder"},  # random attributes do not teach the encoders of attributes
    ]


def test_each_step_of_the_content_discriminator_has_images_of_its_own() -> None:
    step, seen = drit(content_steps=1), []
    step.network.content_encoder.own["normal"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    batch = make_batch((0, 1, 1, 0))
    step(batch)
    assert torch.equal(seen[0], batch["image"][:1]) and torch.equal(seen[1], batch["image"][3:])


def test_losses_of_encoded_attributes_are_those_of_the_authors_written_out() -> None:
    step, batch = drit(content_steps=0), make_batch((1, 0))
    step.network.eval()  # contents without noise
    for encoder in step.network.attribute_encoders.values():  # and attributes without spread
        nn.init.constant_(encoder.log_variance.bias, -60.0)
        nn.init.zeros_(encoder.log_variance.weight)
    network = copy.deepcopy(step.network)
    report = step(batch)
    x, y = batch["image"][:1], batch["image"][1:]
    with torch.no_grad():
        encode, decode, attributes = network.content_encoder, network.decoder, network.attribute_encoders
        content_x, content_y = encode(x, "abnormal"), encode(y, "normal")
        (mean_x, log_x), (mean_y, log_y) = attributes["abnormal"](x), attributes["normal"](y)
        fake_x, fake_y = decode(content_y, mean_x, "abnormal"), decode(content_x, mean_y, "normal")
        back_x = decode(encode(fake_y, "normal"), attributes["abnormal"](fake_x)[0], "abnormal")
        back_y = decode(encode(fake_x, "abnormal"), attributes["normal"](fake_y)[0], "normal")
        kl = sum(-0.5 * (1 + lv - m**2 - lv.exp()).sum() for m, lv in ((mean_x, log_x), (mean_y, log_y)))
        expected = {
            "self_reconstruction": F.l1_loss(decode(content_x, mean_x, "abnormal"), x)
            + F.l1_loss(decode(content_y, mean_y, "normal"), y),
            "cross_cycle": F.l1_loss(back_x, x) + F.l1_loss(back_y, y),
            "kl": kl,
            "content_size": (content_x**2).mean() + (content_y**2).mean(),
        }
    for name, value in expected.items():
        torch.testing.assert_close(report[name], value, rtol=1e-3, atol=1e-4)


def test_terms_have_the_authors_weights() -> None:
    report = drit()(make_batch())
    assert set(WEIGHTS) <= set(report)
    total = sum(weight * report[name].item() for name, weight in WEIGHTS.items())
    assert report["loss"].item() == pytest.approx(total, rel=1e-4)


def test_content_discriminator_has_its_own_learning_rate_and_is_clipped() -> None:
    step = drit(max_content_norm=1e-3)
    others, content = step.discriminator_optimizer.param_groups
    assert content["lr"] == pytest.approx(others["lr"] / 2.5)
    norms: list[float] = []

    def record(*_: Any) -> None:
        gradients = [p.grad for p in step.discriminator["content"].parameters() if p.grad is not None]
        if gradients:
            norms.append(float(torch.nn.utils.get_total_norm(gradients)))

    step.discriminator_optimizer.register_step_pre_hook(record)
    step(make_batch())
    assert len(norms) == 2 and max(norms) <= 1.01e-3


def test_the_attributes_of_inference_are_the_mean_of_normal_images() -> None:
    step, batch = drit(content_steps=0), make_batch()
    with torch.no_grad():
        mean, _ = step.network.attribute_encoders["normal"](batch["image"][[0, 3]])
    step(batch)
    torch.testing.assert_close(step.network.normal_attributes, 0.01 * mean.mean(0), rtol=1e-3, atol=1e-6)


def test_too_few_images_or_other_discriminators() -> None:
    with pytest.raises(ValueError, match="expected 3 images of each class or more, got 2 and 2"):
        drit(content_steps=2)(make_batch())
    with pytest.raises(ValueError, match="discriminator: expected content, abnormal"):
        step = drit()
        type(step)(step.network, nn.ModuleDict(), step.generator_optimizer, step.discriminator_optimizer)
