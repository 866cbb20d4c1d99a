"""DDAD's step: which ensemble learns from what."""

from __future__ import annotations

import torch

from tests.engines.training.small_steps import same, weights_of
from tests.engines.training.systems.small_systems import ddad, make_batch


def test_abnormal_images_teach_module_a_alone() -> None:
    first, second = ddad(), ddad()
    second.network.load_state_dict(first.network.state_dict())
    batch = make_batch((0, 1, 0, 1, 0))
    other = {**batch, "image": torch.where(batch["label"].view(-1, 1, 1, 1) == 1, 0.5, batch["image"])}
    for step, images in ((first, batch), (second, other)):
        torch.manual_seed(5)
        step(images)
    assert same(weights_of(first.network.module_b), weights_of(second.network.module_b))
    assert not same(weights_of(first.network.module_a), weights_of(second.network.module_a))


def test_members_of_an_ensemble_come_to_differ() -> None:
    step, batch = ddad(), make_batch((0, 1, 0, 1, 0))
    for module in (step.network.module_a, step.network.module_b):
        module[1].load_state_dict(module[0].state_dict())
    step(batch)
    for module in (step.network.module_a, step.network.module_b):
        assert not same(weights_of(module[0]), weights_of(module[1]))


def test_both_ensembles_improve() -> None:
    step, batch = ddad(), make_batch((0, 1, 0, 1, 0, 0))
    reports = [step(batch) for _ in range(20)]
    for name in ("module_a", "module_b"):
        assert sum(r[name] for r in reports[-5:]) < 0.95 * sum(r[name] for r in reports[:5])
