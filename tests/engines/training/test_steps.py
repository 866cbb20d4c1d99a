"""One alternation: who learns from what, what D is shown, and how often the fakes are computed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from monai_dgm.engines.training.steps import AdversarialStep, frozen, unwrapped
from monai_dgm.transforms.superimpose import RandSuperimposeOpacity
from tests.engines.training.small_steps import gradients_at, make_batch, make_step, same, weights_of

NOTHING = dict.fromkeys(("adversarial", "reconstruction", "total_variation", "abnormality"), 0.0)


def test_each_side_steps_without_touching_the_other() -> None:
    step = make_step()
    order: list[str] = []
    before = {"G": weights_of(step.network), "D": weights_of(step.discriminator)}
    after_g: dict[str, dict[str, Tensor]] = {}

    def generator_done(*_: Any) -> None:
        order.append("G")
        assert not same(weights_of(step.network), before["G"])
        assert same(weights_of(step.discriminator), before["D"])
        assert all(parameter.grad is None for parameter in step.discriminator.parameters())
        after_g["G"] = weights_of(step.network)

    def discriminator_done(*_: Any) -> None:
        order.append("D")
        assert same(weights_of(step.network), after_g["G"])
        assert not same(weights_of(step.discriminator), before["D"])

    step.generator_optimizer.register_step_post_hook(generator_done)
    step.discriminator_optimizer.register_step_post_hook(discriminator_done)
    step(make_batch())
    assert order == ["G", "D"]
    assert same(weights_of(step.network), after_g["G"])


def test_gradients_are_those_of_equations_6_and_7_written_out() -> None:
    step, batch = make_step(), make_batch()
    seen_g, seen_d = gradients_at(step, "generator"), gradients_at(step, "discriminator")
    network, discriminator = copy.deepcopy(step.network), copy.deepcopy(step.discriminator)
    step(batch)
    z, normals = batch["image"], batch["label"] == 0

    outputs = network(z)
    y, a, joint = outputs["normal"], outputs["residue"], outputs["joint_reconstruction"]
    adversarial = sum(0.5 * ((scores - 1) ** 2).mean() for scores in discriminator(y))
    blank = (a.abs().mean(dim=(1, 2, 3)) * normals).mean()
    variation = (y[:, :, 1:] - y[:, :, :-1]).abs().mean() + (y[..., 1:] - y[..., :-1]).abs().mean()
    p = torch.sigmoid(outputs["abnormality_logit"][:, 0])
    head = -torch.where(normals, (1 - p).log(), p.log()).mean()
    total = 10 * adversarial + 10 * ((y + a - z).abs().mean() + (joint - z).abs().mean() + blank) + variation + head
    gradients = torch.autograd.grad(total, list(network.parameters()))
    for (name, _), gradient in zip(network.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(seen_g[name], gradient, rtol=1e-3, atol=1e-5)

    loss = sum(0.5 * (scores**2).mean() for scores in discriminator(y.detach()))
    loss = loss + sum(0.5 * ((scores - 1) ** 2).mean() for scores in discriminator(z[normals]))
    gradients = torch.autograd.grad(loss, list(discriminator.parameters()))
    for (name, _), gradient in zip(discriminator.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(seen_d[name], gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("term", ["clean_normal", "healthy_normal"])
@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_second_pass_teaches_the_normal_path_alone(term: str, autocast: torch.dtype | None) -> None:
    """Against deep copies of E_F, D_F and the head: the same gradients in E_G and D_G, none in what is copied."""
    step, batch = make_step({**NOTHING, term: 1.0}, autocast=autocast), make_batch()
    seen = gradients_at(step, "generator")
    network = copy.deepcopy(step.network)
    copies = copy.deepcopy(network).requires_grad_(False)
    step(batch)
    with torch.autocast("cpu", dtype=autocast, enabled=autocast is not None):
        y = network(batch["image"])["normal"]
        features = copies.residue_encoder(y)
        logit = copies.abnormality_head(features[-1]).float()
        residue = copies.residue_decoder(features, y).float()
        loss = residue.abs().mean() if term == "clean_normal" else torch.log1p(logit.exp()).mean()
    loss.backward()
    for name, parameter in network.named_parameters():
        part = name.split(".")[0]
        if part in ("normal_encoder", "normal_decoder"):
            tolerance = 1e-5 if autocast is None else 1e-2
            torch.testing.assert_close(seen[name], parameter.grad, rtol=10 * tolerance, atol=tolerance)
        else:
            gradient = seen[name]
            assert gradient is None or gradient.abs().max() == 0, name
    reached = [name for name, g in seen.items() if g is not None and g.abs().max() > 0]
    assert {name.split(".")[0] for name in reached} == {"normal_encoder", "normal_decoder"}


def test_frozen_is_the_same_function_whose_parameters_get_no_gradient() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).eval()
    x = torch.randn(2, 1, 5, 5, requires_grad=True)
    y = frozen(module)(x)
    torch.testing.assert_close(y, module(x))
    y.square().sum().backward()
    assert x.grad is not None and x.grad.abs().max() > 0
    assert all(parameter.grad is None and parameter.requires_grad for parameter in module.parameters())


def test_frozen_follows_the_weights() -> None:
    module = nn.Linear(1, 1, bias=False)
    call = frozen(module)
    with torch.no_grad():
        module.weight.fill_(3.0)
    assert call(torch.ones(1, 1)).item() == 3.0  # a view, not a copy: nothing to keep in step


@pytest.mark.parametrize("weights", [None, {"clean_normal": 1.0, "healthy_normal": 1.0, "latent_regression": 1.0}])
def test_fakes_are_computed_once(weights: dict[str, float] | None) -> None:
    step = make_step(weights)
    calls = {"network": 0, "normal_decoder": 0}
    step.network.register_forward_hook(lambda *_: calls.update(network=calls["network"] + 1))
    decoder = step.network.normal_decoder
    decoder.register_forward_hook(lambda *_: calls.update(normal_decoder=calls["normal_decoder"] + 1))
    step(make_batch())
    assert calls == {"network": 1, "normal_decoder": 1}


def test_latent_regression_encodes_the_joint_reconstruction_again() -> None:
    step = make_step({**NOTHING, "latent_regression": 1.0})
    network, batch = copy.deepcopy(step.network), make_batch()
    output = step(batch)
    with torch.no_grad():
        first = network(batch["image"])
        again = network(first["joint_reconstruction"])
    expected = sum((again[name] - first[name]).abs().mean() for name in ("normal_code", "residue_code"))
    assert output["latent_regression"].item() == pytest.approx(float(expected), rel=1e-4)


def shown_to_discriminator(step: AdversarialStep) -> list[Tensor]:
    """Inputs of D, in order; the last call of a step holds real and fake images."""
    seen: list[Tensor] = []
    step.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    return seen


def brighten(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**batch, "image": (batch["image"] + 0.1).clamp(-1, 1)}


def test_real_images_are_the_normal_ones_before_opacities_are_superimposed() -> None:
    step = make_step(batch_transforms=[brighten, RandSuperimposeOpacity(prob=1.0)])
    seen, batch = shown_to_discriminator(step), make_batch((1, 0, 0, 1))
    output = step(batch)
    expected = brighten(batch)["image"][1:3]
    real_and_fake = torch.cat(seen[1:])  # in one call or in two
    assert torch.equal(real_and_fake[:2], expected)
    assert torch.equal(real_and_fake[2:], output["normal"])  # of all images, normal or not
    assert torch.equal(seen[0], output["normal"])
    assert output["superimposed"].tolist() == [False, True, True, False]
    assert not torch.equal(output["image"][1:3], expected)  # G was given the superimposed ones


def test_real_images_given_apart_are_used_instead() -> None:
    step = make_step()
    seen, batch = shown_to_discriminator(step), make_batch((1,))
    batch["real_normal"] = torch.rand(3, 1, 32, 32)
    output = step(batch)
    assert torch.equal(torch.cat(seen[1:])[:3], batch["real_normal"])
    assert "discriminator" in output


def test_a_batch_without_normals_trains_the_generator_alone() -> None:
    step = make_step()
    before = weights_of(step.network), weights_of(step.discriminator)
    output = step(make_batch((1, 1)))
    assert not same(weights_of(step.network), before[0])
    assert same(weights_of(step.discriminator), before[1])
    assert not any("score" in name or "discriminator" in name for name in output)


def test_output_names_every_term_and_nothing_in_it_holds_a_graph() -> None:
    step, batch = make_step(), make_batch()
    output = step(batch)
    assert all(not value.requires_grad for value in output.values())
    terms = {"adversarial", "reconstruction", "joint_reconstruction", "blank_residue", "total_variation", "abnormality"}
    scores = {f"{kind}_score_{scale}" for kind in ("real", "fake") for scale in range(2)}
    norms = {"generator_grad_norm", "discriminator_grad_norm"}
    assert {n for n, v in output.items() if v.dim() == 0} == {"loss", "discriminator", *terms, *scores, *norms}
    assert {n for n, v in output.items() if v.dim() > 0} == {"image", "label", "normal", "residue", "abnormality_logit"}
    weights = {"reconstruction": 10, "joint_reconstruction": 10, "blank_residue": 10, "adversarial": 10}
    assert output["loss"].item() == pytest.approx(
        sum(weights.get(name, 1) * output[name].item() for name in terms), rel=1e-5
    )
    halves = [0.5 * (1 - output[f"real_score_{i}"]) for i in range(2)]  # D is near 0 everywhere at the start
    assert output["discriminator"].item() == pytest.approx(float(sum(halves)), rel=0.2)


def test_a_few_steps_lower_the_reconstruction_and_teach_the_discriminator() -> None:
    step, batch = make_step(generator_lr=0.02, discriminator_lr=0.05, max_grad_norm=1.0), make_batch()
    first = step(batch)
    for _ in range(30):
        last = step(batch)
    assert last["reconstruction"] < first["reconstruction"]
    assert last["joint_reconstruction"] < first["joint_reconstruction"]
    assert last["discriminator"] < first["discriminator"]


def test_unwrapped_is_the_module_itself_where_there_is_no_wrapper() -> None:
    module = nn.Linear(1, 1)
    assert unwrapped(module) is module
