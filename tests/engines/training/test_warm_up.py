"""The warm start trains the residue branch and nothing else, and hands over to the adversarial step."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Events
from torch.utils.data import DataLoader

from monai_dgm.data.sampler import BalancedBatchSampler
from monai_dgm.engines.training.steps import AdversarialStep, ResidueWarmUp
from monai_dgm.engines.training.trainer import StepTrainer
from monai_dgm.losses.objective import DGMObjective
from monai_dgm.networks.dgm import DGM
from monai_dgm.networks.discriminator import MultiScaleDiscriminator
from monai_dgm.transforms.superimpose import RandSuperimposeOpacity

SIZE = 32


def make_step(prob: float = 0.5) -> AdversarialStep:
    torch.manual_seed(0)
    network, discriminator = DGM(base_width=2, num_res_blocks=1), MultiScaleDiscriminator(base_width=2, num_layers=2)
    return AdversarialStep(
        network,
        discriminator,
        torch.optim.Adam(network.parameters(), 1e-3),
        torch.optim.Adam(discriminator.parameters(), 1e-3),
        DGMObjective({"evidence": 1.0, "paired_residue": 1.0, "paired_normal": 1.0}),
        batch_transforms=[RandSuperimposeOpacity(prob)],
    )


def make_batch(count: int = 8) -> dict[str, torch.Tensor]:
    label = torch.arange(count) % 2
    return {"image": torch.rand(count, 1, SIZE, SIZE) * 2 - 1, "label": label.float()}


def test_only_the_residue_branch_learns() -> None:
    step = make_step()
    before = {name: value.clone() for name, value in step.network.state_dict().items()}
    critic = {name: value.clone() for name, value in step.discriminator.state_dict().items()}
    ResidueWarmUp(step, 1)(make_batch())
    changed = {
        name.split(".")[0] for name, value in step.network.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"residue_encoder", "residue_decoder", "abnormality_head"}
    assert all(torch.equal(value, critic[name]) for name, value in step.discriminator.state_dict().items())


def test_its_terms_are_those_of_the_whole_objective() -> None:
    warmed, whole = make_step(prob=0.0), make_step(prob=0.0)
    torch.manual_seed(1)
    batch = make_batch()
    one, other = ResidueWarmUp(warmed, 1)(dict(batch)), whole(dict(batch))
    for name in ("blank_residue", "abnormality", "evidence"):
        torch.testing.assert_close(one[name], other[name])
    assert "adversarial" not in one and "normal" not in one


def test_trainer_hands_over_after_the_last_iteration() -> None:
    step = make_step()
    seen: list[str] = []
    items = [{"image": torch.rand(1, SIZE, SIZE) * 2 - 1, "label": torch.tensor(float(i % 2))} for i in range(8)]
    sampler = BalancedBatchSampler([i % 2 for i in range(8)], 4, epoch_length=5)
    trainer = StepTrainer("cpu", 1, DataLoader(items, batch_sampler=sampler), step, warm_up=ResidueWarmUp(step, 2))
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda engine: seen.append("whole" if "adversarial" in engine.state.output[0] else "warm"),
    )
    trainer.run()
    assert seen == ["warm", "warm", "whole", "whole", "whole"]


def test_a_negative_number_of_iterations_is_refused() -> None:
    with pytest.raises(ValueError, match="iterations: expected a number >= 0, got -1"):
        ResidueWarmUp(make_step(), -1)
