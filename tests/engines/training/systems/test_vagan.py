"""VA-GAN's step: who is trained when, and on what losses."""

from __future__ import annotations

import copy

import pytest
import torch

from monai_dgm.engines.training.systems.vagan import CriticSchedule
from tests.engines.training.small_steps import same, weights_of
from tests.engines.training.systems.small_systems import make_batch, vagan


def trained(step_count: int, **settings: int) -> str:
    """Which side each step changed: "c" for the critic, "g" for the generator."""
    step, sides = vagan(schedule=CriticSchedule(**settings)), ""
    for _ in range(step_count):
        before = weights_of(step.network), weights_of(step.discriminator)
        step(make_batch())
        sides_now = zip((step.network, step.discriminator), before, strict=True)
        changed = [not same(weights_of(module), old) for module, old in sides_now]
        assert changed.count(True) == 1
        sides += "g" if changed[0] else "c"
    return sides


def test_the_critic_is_trained_several_times_before_each_step_of_the_generator() -> None:
    assert trained(9, steps=2, long_steps=2, first_long=0, long_every=1000) == "ccgccgccg"


def test_longer_at_the_start_and_now_and_then() -> None:
    assert trained(17, steps=1, long_steps=3, first_long=2, long_every=4) == "cccgcccgcgcgcccgc"


def test_schedule_of_the_authors() -> None:
    schedule = CriticSchedule()
    steps = [schedule.critic_steps(i) for i in range(301)]
    assert steps[:25] == 25 * [100] and steps[25:100] == 75 * [5]
    assert [i for i, count in enumerate(steps) if count == 100] == [*range(25), 100, 200, 300]


def test_schedule_that_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="schedule: expected numbers of steps"):
        CriticSchedule(steps=0)


def test_losses_are_those_of_gulrajani_and_baumgartner_written_out() -> None:
    step = vagan(map_weight=7.0, schedule=CriticSchedule(steps=1, long_steps=1))
    batch = make_batch()
    abnormal, real = batch["image"][1:3], batch["image"][[0, 3]]
    network, critic = copy.deepcopy(step.network).train(), copy.deepcopy(step.discriminator)
    report = step(batch)
    with torch.no_grad():
        fake = torch.tanh(abnormal + network.map_generator(abnormal))
        distance = critic(fake).mean() - critic(real).mean()
        loss = -critic(fake).mean() + 7.0 * (fake - abnormal).abs().mean()
    torch.testing.assert_close(report["critic"], distance, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(report["loss"], loss, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(report["normal"], fake, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(report["residue"], abnormal - fake, rtol=1e-4, atol=1e-5)


def test_a_batch_of_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="expected abnormal and normal images, got 0 and 2"):
        vagan()(make_batch((0, 0)))


def test_the_critic_learns_to_tell_the_images_apart() -> None:
    step = vagan(schedule=CriticSchedule(steps=40, long_steps=40))
    batch = make_batch()
    batch["image"][batch["label"] == 0] *= 0.2  # normals of less contrast
    distances = [step(batch)["critic"].item() for _ in range(40)]
    assert distances[-1] < distances[0] - 0.01
