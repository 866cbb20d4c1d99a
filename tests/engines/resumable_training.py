"""A training with everything that a bundle's has, at 32 pixels, and all that must be the same at its end.

Run as a script this file is that training (see :func:`main`), for the test that kills it with SIGKILL.
"""

from __future__ import annotations

import json
import random
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.handlers import LrScheduleHandler
from torch import Tensor
from torch.utils.data import DataLoader

from monai_dgm.data.sampler import BalancedBatchSampler
from monai_dgm.engines.training.checkpoint import TrainingCheckpoint, random_state
from monai_dgm.engines.training.steps import AdversarialStep
from monai_dgm.engines.training.trainer import PrepareTrainingBatch, StepTrainer
from monai_dgm.handlers.collapse_monitor import CollapseMonitor
from monai_dgm.handlers.history import TrainingHistory
from monai_dgm.handlers.moving_average import MovingAverage
from monai_dgm.losses.objective import DGMObjective
from monai_dgm.networks.dgm import DGM
from monai_dgm.networks.discriminator import MultiScaleDiscriminator
from monai_dgm.transforms.augmentation import RandRadiographAugmentation
from monai_dgm.transforms.superimpose import RandSuperimposeOpacity

EPOCH_LENGTH = 4
KILLS, EPOCHS = 10, 30
WEIGHTS = {"adversarial": 3.0, "clean_normal": 1.0, "healthy_normal": 1.0, "paired_normal": 1.0, "evidence": 1.0}


class Killed(BaseException):
    """Ends a run in this process at once, past all handlers, as a kill would."""


def small_training(
    folder: Path,
    max_epochs: int = 3,
    save_interval: int = 3,
    base_width: int = 2,
    autocast: torch.dtype | None = None,
    epoch_length: int = EPOCH_LENGTH,
    rank: int = 0,
) -> SimpleNamespace:
    """Everything that a training has, at 32 pixels: what a bundle's configuration would build."""
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    network = DGM(base_width=base_width, num_res_blocks=1, normal_skips=True).to(memory_format=torch.channels_last)
    discriminator = MultiScaleDiscriminator(base_width=2, num_scales=2, num_layers=2, norm="spectral")
    optimizers = [
        torch.optim.Adam(m.parameters(), lr=1e-3, betas=(0.5, 0.999), fused=True) for m in (network, discriminator)
    ]
    schedulers = [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.8) for optimizer in optimizers]
    step = AdversarialStep(
        network, discriminator, *optimizers, DGMObjective(WEIGHTS), autocast=autocast, max_grad_norm=5.0
    )
    step.batch_transforms = (RandRadiographAugmentation(), RandSuperimposeOpacity())
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(11, 1, 32, 32, generator=generator) * 2 - 1
    data = [{"image": image, "label": torch.tensor(float(i % 2))} for i, image in enumerate(images)]
    sampler = BalancedBatchSampler([i % 2 for i in range(11)], 2, num_real=1, epoch_length=epoch_length)
    history = TrainingHistory(folder / "history.jsonl", interval=2)
    monitor = CollapseMonitor(history, interval=4, grace=4)
    average = MovingAverage(network, warmup_iters=8)
    validator = SimpleNamespace(state=SimpleNamespace(best_metric=-1.0, best_metric_epoch=-1))
    objects = {"network": network, "discriminator": discriminator, "average": average.ema_model, "history": history}
    objects |= {"optimizer": optimizers[0], "discriminator_optimizer": optimizers[1], "monitor": monitor}
    objects |= {"scheduler": schedulers[0], "discriminator_scheduler": schedulers[1]}
    checkpoint = TrainingCheckpoint(folder / "checkpoint.pt", objects, sampler, save_interval, validator, rank)  # type: ignore[arg-type]
    loader = DataLoader(data, batch_sampler=sampler)  # type: ignore[arg-type]
    handlers = [average, *(LrScheduleHandler(s, print_lr=False) for s in schedulers), history, monitor]
    trainer = StepTrainer(
        "cpu", max_epochs, loader, step, prepare_batch=PrepareTrainingBatch(num_real=1), train_handlers=handlers
    )

    def validate(engine: Engine) -> None:  # draws random numbers, as an evaluation's loader does
        metric = torch.rand(()).item() + random.random() + np.random.rand()
        history.add(engine, {"validation/metric": metric})
        if metric > validator.state.best_metric:
            validator.state.best_metric, validator.state.best_metric_epoch = metric, engine.state.epoch

    trainer.add_event_handler(Events.EPOCH_COMPLETED, validate)
    checkpoint.attach(trainer)
    return SimpleNamespace(trainer=trainer, checkpoint=checkpoint, objects=objects, validator=validator, step=step)


def plain(value: Any) -> Any:
    """Nested states as comparable values, tensors as their exact bytes."""
    if isinstance(value, Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().flatten().view(torch.uint8).numpy().tobytes()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def end_of(training: SimpleNamespace) -> dict[str, Any]:
    """All that must be the same, bit for bit: every state, the history's file, the random states, the checkpoint."""
    folder = training.checkpoint.path.parent
    return {
        **{name: plain(thing.state_dict()) for name, thing in training.objects.items()},
        "best": vars(training.validator.state),
        "random": plain(random_state()),
        "history file": (folder / "history.jsonl").read_bytes(),
        "checkpoint": plain(torch.load(folder / "checkpoint.pt", weights_only=True)),
        "iteration": training.trainer.state.iteration,
    }


def assert_same_end(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name] == theirs[name], name


def run_and_kill(training: SimpleNamespace, iteration: int) -> None:
    """Kill when an iteration and its handlers are done."""

    def kill(_: Engine) -> None:
        raise Killed

    training.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=iteration), kill)
    with pytest.raises(Killed):
        training.trainer.run()


def uninterrupted(folder: Path, **settings: Any) -> dict[str, Any]:
    training = small_training(folder, **settings)
    training.trainer.run()
    return end_of(training)


def main(folder: Path) -> None:
    """The training of this file, long enough to be killed ten times, saying where it is; every iteration is saved."""
    torch.set_num_threads(1)
    training = small_training(folder, max_epochs=EPOCHS, save_interval=1)
    training.trainer.add_event_handler(
        Events.ITERATION_STARTED, lambda engine: print(engine.state.iteration, flush=True)
    )
    training.trainer.run()
    digest = {name: zlib.crc32(repr(value).encode()) for name, value in end_of(training).items()}
    (folder / "end.json").write_text(json.dumps(digest))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
