"""CycleGAN's step: the losses written out, and the pool of synthesised images."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from monai_dgm.engines.training.systems.cyclegan import ImagePool
from tests.engines.training.small_steps import same, weights_of
from tests.engines.training.systems.small_systems import cyclegan, make_batch


def test_losses_are_those_of_the_paper_written_out() -> None:
    step, batch = cyclegan(), make_batch()
    x, y = batch["image"][1:3], batch["image"][[0, 3]]
    network, discriminators = copy.deepcopy(step.network), copy.deepcopy(step.discriminator)
    report = step(batch)
    with torch.no_grad():
        to_y, to_x = network.to_normal, network.to_abnormal
        judge_y, judge_x = (lambda image, d=discriminators[name]: d(image)[-1] for name in ("normal", "abnormal"))
        adversarial = ((judge_y(to_y(x)) - 1) ** 2).mean() + ((judge_x(to_x(y)) - 1) ** 2).mean()
        cycle = (to_x(to_y(x)) - x).abs().mean() + (to_y(to_x(y)) - y).abs().mean()
        identity = (to_y(y) - y).abs().mean() + (to_x(x) - x).abs().mean()
        judged = 0.5 * ((judge_y(y) - 1) ** 2).mean() + 0.5 * (judge_y(to_y(x)) ** 2).mean()
        judged = judged + 0.5 * ((judge_x(x) - 1) ** 2).mean() + 0.5 * (judge_x(to_x(y)) ** 2).mean()
    expected = {"adversarial": adversarial, "cycle": cycle, "identity": identity, "discriminator": judged}
    expected["loss"] = adversarial + 10 * cycle + 5 * identity
    for name, value in expected.items():
        torch.testing.assert_close(report[name], value, rtol=1e-4, atol=1e-5)


def test_a_cycle_of_translators_that_change_nothing_costs_nothing() -> None:
    step = cyclegan()
    step.network.to_normal = step.network.to_abnormal = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False))
    nn.init.ones_(step.network.to_normal[0].weight)
    report = step(make_batch())
    assert report["cycle"] == report["identity"] == 0
    assert report["residue"].abs().max() == 0


def test_each_side_steps_without_touching_the_other() -> None:
    step = cyclegan()
    before, order = {"G": weights_of(step.network), "D": weights_of(step.discriminator)}, []

    def generators_done(*_: Any) -> None:
        order.append("G")
        assert not same(weights_of(step.network), before["G"]) and same(weights_of(step.discriminator), before["D"])
        before["G"] = weights_of(step.network)

    def discriminators_done(*_: Any) -> None:
        order.append("D")
        assert not same(weights_of(step.discriminator), before["D"])

    step.generator_optimizer.register_step_post_hook(generators_done)
    step.discriminator_optimizer.register_step_post_hook(discriminators_done)
    step(make_batch())
    assert order == ["G", "D"] and same(weights_of(step.network), before["G"])


def test_normal_images_are_reported_with_their_identity_translation() -> None:
    report = cyclegan()(make_batch((0, 1, 0)))
    assert report["label"].tolist() == [1, 0, 0]
    torch.testing.assert_close(report["residue"], report["image"] - report["normal"])


def test_weights_of_terms_that_there_are_not() -> None:
    with pytest.raises(ValueError, match="weights: expected terms of adversarial, cycle, identity, got 'tv'"):
        cyclegan(weights={"tv": 1.0})
    with pytest.raises(ValueError, match="weights: expected numbers >= 0, got -1"):
        cyclegan(weights={"cycle": -1})


def numbered(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1)


def test_a_pool_that_is_not_full_gives_back_what_it_gets() -> None:
    pool = ImagePool(3)
    assert pool.exchange(numbered(1, 2)).flatten().tolist() == [1, 2]
    assert torch.cat(pool.images).flatten().tolist() == [1, 2]


def test_a_full_pool_gives_an_older_image_half_of_the_time_and_loses_none() -> None:
    pool, given, older = ImagePool(50), [], 0
    for number in range(1050):
        (value,) = pool.exchange(numbered(number)).flatten().tolist()
        given.append(value)
        older += value != number
    assert len(pool.images) == 50
    assert 430 < older < 570
    left = torch.cat(pool.images).flatten().tolist()
    shown = given[:50] + [value for value, own in zip(given[50:], range(50, 1050), strict=True) if value == own]
    assert set(given) | set(left) == set(range(1050)) and len(shown) > 50


def test_no_pool() -> None:
    assert ImagePool(0).exchange(numbered(1, 2, 3)).flatten().tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="capacity: expected a number >= 0, got -1"):
        ImagePool(-1)
