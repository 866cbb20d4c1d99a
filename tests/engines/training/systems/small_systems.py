"""Small trainings of the compared systems at 32 pixels, with all that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from monai_dgm.data.sampler import BalancedBatchSampler
from monai_dgm.engines.training.checkpoint import TrainingCheckpoint
from monai_dgm.engines.training.steps import TrainingStep
from monai_dgm.engines.training.systems.aeu import AEUStep
from monai_dgm.engines.training.systems.cyclegan import CycleGANStep
from monai_dgm.engines.training.systems.ddad import DDADStep
from monai_dgm.engines.training.systems.drit import DISCRIMINATORS, DRITStep, discriminator_groups
from monai_dgm.engines.training.systems.munit import MUNITStep
from monai_dgm.engines.training.systems.vagan import CriticSchedule, VAGANStep
from monai_dgm.engines.training.trainer import StepTrainer
from monai_dgm.handlers.collapse_monitor import CollapseMonitor
from monai_dgm.handlers.history import TrainingHistory
from monai_dgm.handlers.moving_average import MovingAverage
from monai_dgm.networks.aeu import AEU
from monai_dgm.networks.cyclegan import CycleGANTranslators
from monai_dgm.networks.ddad import DDAD
from monai_dgm.networks.discriminator import MultiScaleDiscriminator
from monai_dgm.networks.drit import ContentDiscriminator, DRITNetworks
from monai_dgm.networks.munit import MUNITAutoencoders
from monai_dgm.networks.vagan import VAGAN, Critic
from monai_dgm.transforms.augmentation import RandRadiographAugmentation

SIZE = 32
EPOCH_LENGTH = 4
MAX_EPOCHS = 2


def adam(network: nn.Module, **settings: Any) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), **{"lr": 1e-3, "betas": (0.5, 0.999), **settings})


def vagan(**settings: Any) -> VAGANStep:
    network, critic = VAGAN(2), Critic(2)
    schedule = CriticSchedule(steps=2, long_steps=3, first_long=1, long_every=3)
    return VAGANStep(network, critic, adam(network), adam(critic), **{"schedule": schedule, **settings})


def cyclegan(**settings: Any) -> CycleGANStep:
    network = CycleGANTranslators(2, 1)
    patches = [PatchDiscriminator(2, 2, 1, num_layers_d=2, norm="INSTANCE", bias=True) for _ in range(2)]
    discriminators = nn.ModuleDict(dict(zip(("normal", "abnormal"), patches, strict=True)))
    return CycleGANStep(network, discriminators, adam(network), adam(discriminators), **{"pool_size": 3, **settings})


def multi_scale() -> MultiScaleDiscriminator:
    return MultiScaleDiscriminator(1, 2, num_scales=2, num_layers=2, padding_mode="reflect")


def munit(**settings: Any) -> MUNITStep:
    network = MUNITAutoencoders(2, 1)
    discriminators = nn.ModuleDict({"normal": multi_scale(), "abnormal": multi_scale()})
    return MUNITStep(network, discriminators, adam(network), adam(discriminators), **settings)


def drit(**settings: Any) -> DRITStep:
    network = DRITNetworks(2)
    images = {name: multi_scale() for name in DISCRIMINATORS[1:]}
    discriminators = nn.ModuleDict({"content": ContentDiscriminator(SIZE, 2), **images})
    optimizer = torch.optim.Adam(discriminator_groups(discriminators, 1e-3))
    return DRITStep(network, discriminators, adam(network), optimizer, **{"content_steps": 1, **settings})


def aeu(**settings: Any) -> AEUStep:
    network = AEU(SIZE, 2, hidden=8)
    return AEUStep(network, adam(network), **settings)


def ddad(**settings: Any) -> DDADStep:
    network = DDAD(SIZE, 2, hidden=8, num_members=2)
    return DDADStep(network, adam(network), **settings)


SYSTEMS: dict[str, Callable[..., TrainingStep]] = {
    "vagan": vagan,
    "cyclegan": cyclegan,
    "munit": munit,
    "drit": drit,
    "aeu": aeu,
    "ddad": ddad,
}


def make_batch(labels: tuple[int, ...] = (0, 1, 1, 0)) -> dict[str, Tensor]:
    """Noise in [-1, 1] with these labels."""
    return {"image": torch.rand(len(labels), 1, SIZE, SIZE) * 2 - 1, "label": torch.tensor(labels).float()}


def small_training(name: str, folder: Path, max_epochs: int = MAX_EPOCHS, save_interval: int = 3) -> SimpleNamespace:
    """The training of a system by its name: trainer, checkpoint and all that must be the same at the end."""
    torch.manual_seed(7)
    step: Any = SYSTEMS[name](batch_transforms=[RandRadiographAugmentation()])
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(11, 1, SIZE, SIZE, generator=generator) * 2 - 1
    data = [{"image": image, "label": torch.tensor(float(i % 2))} for i, image in enumerate(images)]
    sampler = BalancedBatchSampler([i % 2 for i in range(11)], 4, epoch_length=EPOCH_LENGTH)
    history = TrainingHistory(folder / "history.jsonl", interval=2)
    monitor = CollapseMonitor(history, interval=4, grace=4)
    average = MovingAverage(step.network, warmup_iters=8, handle_buffers="update")
    objects = {"network": step.network, "average": average.ema_model, "history": history, "monitor": monitor}
    for part in ("discriminator", "optimizer", "generator_optimizer", "discriminator_optimizer"):
        if hasattr(step, part):
            objects[part] = getattr(step, part)
    if hasattr(step, "state_dict"):
        objects["step"] = step
    checkpoint = TrainingCheckpoint(folder / "checkpoint.pt", objects, sampler, save_interval)
    loader = DataLoader(data, batch_sampler=sampler)  # type: ignore[arg-type]
    trainer = StepTrainer("cpu", max_epochs, loader, step, train_handlers=[average, history, monitor])
    checkpoint.attach(trainer)
    validator = SimpleNamespace(state=SimpleNamespace())
    return SimpleNamespace(trainer=trainer, checkpoint=checkpoint, objects=objects, validator=validator, step=step)
