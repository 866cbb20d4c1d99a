"""The trainer: what reaches the step, what comes out, and that it fits MONAI's and Ignite's handlers."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.handlers import StatsHandler
from torch import Tensor
from torch.utils.data import DataLoader

from monai_dgm.data.sampler import BalancedBatchSampler
from monai_dgm.engines.training.steps import AdversarialStep
from monai_dgm.engines.training.trainer import PrepareTrainingBatch, StepTrainer, step_output
from monai_dgm.losses.objective import DGMObjective
from monai_dgm.networks.dgm import DGM
from monai_dgm.networks.discriminator import MultiScaleDiscriminator

CPU = torch.device("cpu")


def items(count: int = 12) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 1, 32, 32, generator=generator) * 2 - 1
    return [{"image": image, "label": torch.tensor(float(i % 2)), "index": i} for i, image in enumerate(images)]


def make_trainer(
    max_epochs: int = 2, num_real: int = 0, autocast: torch.dtype | None = None, **settings: Any
) -> StepTrainer:
    network = DGM(base_width=2, num_res_blocks=1)
    discriminator = MultiScaleDiscriminator(base_width=2, num_scales=2, num_layers=2)
    optimizers = [torch.optim.Adam(module.parameters(), lr=1e-4, fused=True) for module in (network, discriminator)]
    step = AdversarialStep(network, discriminator, *optimizers, DGMObjective(), autocast=autocast)
    data = items()
    sampler = BalancedBatchSampler([int(item["label"]) for item in data], 2, num_real=num_real, epoch_length=3)
    loader = DataLoader(data, batch_sampler=sampler)  # type: ignore[arg-type]
    prepare_batch = PrepareTrainingBatch(num_real, channels_last=autocast is not None)
    return StepTrainer("cpu", max_epochs, loader, step, prepare_batch=prepare_batch, **settings)


def test_batch_is_split_into_images_to_train_on_and_real_ones_for_the_discriminator() -> None:
    batch = {"image": torch.randn(5, 1, 4, 4), "label": torch.tensor([0, 1, 1, 0, 0]), "index": torch.arange(5)}
    plain = PrepareTrainingBatch()(batch, CPU)
    assert set(plain) == {"image", "label"}
    assert torch.equal(plain["image"], batch["image"]) and plain["label"].dtype == torch.float32
    split = PrepareTrainingBatch(num_real=2)(batch, CPU)
    assert torch.equal(split["image"], batch["image"][:3]) and split["label"].tolist() == [0, 1, 1]
    assert torch.equal(split["real_normal"], batch["image"][3:])


def test_memory_format_is_as_asked() -> None:
    batch = {"image": torch.randn(2, 3, 4, 4), "label": torch.zeros(2)}
    assert PrepareTrainingBatch(channels_last=True)(batch, CPU)["image"].is_contiguous(
        memory_format=torch.channels_last
    )
    assert PrepareTrainingBatch()(batch, CPU)["image"].is_contiguous()


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_runs_all_epochs_and_puts_out_named_losses(autocast: torch.dtype | None) -> None:
    outputs: list[dict[str, Tensor]] = []
    trainer = make_trainer(autocast=autocast)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: outputs.append(step_output(engine)))
    trainer.run()
    assert trainer.state.iteration == 6 and trainer.state.epoch == 2
    assert len(outputs) == 6
    for output in outputs:
        assert {"loss", "adversarial", "reconstruction", "discriminator", "image", "normal", "residue"} <= set(output)
        assert all(torch.isfinite(value).all() for value in output.values())
    assert trainer.step.network.training


def test_real_images_of_the_sampler_reach_the_discriminator_and_nobody_else() -> None:
    trainer = make_trainer(max_epochs=1, num_real=3)
    shown: list[Tensor] = []
    trainer.step.discriminator.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0].detach()))
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda engine: engine.terminate())
    trainer.run()
    sampler = trainer.data_loader.batch_sampler
    indices, data = sampler.batch(0), items()
    assert len(indices) == 5
    expected = torch.stack([data[i]["image"] for i in indices])
    assert torch.equal(step_output(trainer)["image"], expected[:2])
    assert torch.equal(torch.cat(shown[1:])[:3], expected[2:])


def test_loader_draws_nothing_from_the_random_state_of_the_training() -> None:
    trainer = make_trainer()
    before = torch.get_rng_state()
    trainer.run()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loaders_own_generator_is_kept() -> None:
    generator = torch.Generator()
    trainer = make_trainer()
    loader = DataLoader(items(), batch_size=2, generator=generator)
    assert StepTrainer("cpu", 1, loader, trainer.step).data_loader.generator is generator


def test_monai_handlers_attach_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    handler = StatsHandler(output_transform=lambda output: {"loss": output[0]["loss"].item()}, name=__name__)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an output that MONAI does not understand is a warning
        make_trainer(max_epochs=1, train_handlers=[handler]).run()
    assert capsys.readouterr().out.count("loss: ") == 3


def test_length_of_an_epoch_is_the_samplers() -> None:
    assert make_trainer().state.epoch_length == 3
