"""A step with boxes and a masked composition: what reaches it, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from monai_dgm.engines.training.steps import AdversarialStep, ResidueWarmUp
from monai_dgm.engines.training.trainer import PrepareTrainingBatch
from monai_dgm.losses.objective import DGMObjective
from monai_dgm.networks.dgm import DGM
from monai_dgm.networks.discriminator import MultiScaleDiscriminator
from monai_dgm.transforms.lung_opacity import RandLungOpacity
from monai_dgm.transforms.truth_augmentation import RandTruthAugmentation

SIDE = 64
WEIGHTS = {"box_outside": 10.0, "box_inside": 1.0, "lesion_mask": 4.0, "proposal": 2.0, "category": 1.0}


def batch() -> dict[str, Tensor]:
    torch.manual_seed(0)
    weight = torch.zeros(6, 1, SIDE, SIDE)
    weight[:3, :, 20:40, 10:30] = 0.05
    label = torch.tensor([1.0, 1, 1, 0, 0, 0])
    return {
        "image": torch.rand(6, 1, SIDE, SIDE) * 2 - 1, "label": label, "box_weight": weight, "complete": label == 1,
        "category": label.long(), "lungs": torch.ones(6, 1, SIDE, SIDE), "index": torch.arange(6),
    }  # fmt: skip


def make_step(masked: bool = True, **weights: float) -> AdversarialStep:
    torch.manual_seed(1)
    network = DGM(
        base_width=2, num_res_blocks=1, joint_decoder=False, normal_skips=True, residue_skips=True,
        composition="masked" if masked else "additive", num_categories=3,
    )  # fmt: skip
    discriminator = MultiScaleDiscriminator(1, 2, 2, 2)
    optimizers = [torch.optim.Adam(module.parameters(), 2e-3) for module in (network, discriminator)]
    transforms = [RandTruthAugmentation(), RandLungOpacity(0.5)]
    return AdversarialStep(
        network, discriminator, *optimizers, DGMObjective({**WEIGHTS, **weights}), batch_transforms=transforms
    )


def test_the_trainer_hands_on_what_is_known() -> None:
    prepared = PrepareTrainingBatch(num_real=2)(batch(), "cpu")
    assert set(prepared) == {"image", "label", "box_weight", "complete", "category", "lungs", "real_normal"}
    assert {len(value) for name, value in prepared.items() if name != "real_normal"} == {4}
    torch.testing.assert_close(prepared["real_normal"], batch()["image"][-2:])


def test_the_mask_learns_where_the_boxes_are() -> None:
    step = make_step()
    losses = [step(batch())["lesion_mask"].item() for _ in range(25)]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_self_consistency_sees_the_residue_of_the_normal_image() -> None:
    step = make_step(clean_normal=1.0)
    report = step(batch())
    assert 0 < report["clean_normal"].item() < 1


def test_a_warm_up_of_the_residue_branch_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="masked"):
        ResidueWarmUp(make_step(), 5)
    ResidueWarmUp(make_step(), 0)
    ResidueWarmUp(make_step(masked=False), 5)
