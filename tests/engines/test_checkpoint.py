"""Checkpoints: a training killed at any moment and started again ends with the bits of one that was not.

Run as a script this file is that training (see :func:`main`), for the test that kills it with SIGKILL.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.handlers import LrScheduleHandler
from torch import Tensor, nn
from torch.utils.data import DataLoader

from monai_dgm.data.sampler import BalancedBatchSampler
from monai_dgm.engines import checkpoint as module
from monai_dgm.engines.checkpoint import TrainingCheckpoint, random_state, set_random_state
from monai_dgm.engines.steps import AdversarialStep
from monai_dgm.engines.trainer import DGMTrainer
from monai_dgm.engines.weights import find_weights, load_weights, read_model_settings, save_weights
from monai_dgm.errors import InputError
from monai_dgm.handlers.collapse_monitor import CollapseMonitor
from monai_dgm.handlers.history import TrainingHistory
from monai_dgm.handlers.moving_average import MovingAverage
from monai_dgm.losses.objective import DGMObjective
from monai_dgm.networks.dgm import DGM
from monai_dgm.networks.discriminator import MultiScaleDiscriminator
from monai_dgm.transforms.augmentation import RandRadiographVariation
from monai_dgm.transforms.superimpose import RandSuperimposeOpacity

EPOCH_LENGTH = 4
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
    step.batch_transforms = (RandRadiographVariation(), RandSuperimposeOpacity())
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
    trainer = DGMTrainer("cpu", max_epochs, loader, step, num_real=1, handlers=handlers)

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


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return uninterrupted(tmp_path_factory.mktemp("reference"))


def test_a_run_repeats_itself(reference: dict[str, Any], tmp_path: Path) -> None:
    assert_same_end(uninterrupted(tmp_path), reference)
    assert reference["iteration"] == 3 * EPOCH_LENGTH


@pytest.mark.parametrize("kills", [(1,), (4,), (5,), (8,), (2, 5, 7, 11)])
def test_killed_after_an_iteration_and_resumed(
    kills: tuple[int, ...], reference: dict[str, Any], tmp_path: Path
) -> None:
    for iteration in kills:
        run_and_kill(small_training(tmp_path), iteration)
    training = small_training(tmp_path)
    training.trainer.run()
    assert_same_end(end_of(training), reference)


def test_killed_and_resumed_in_mixed_precision(tmp_path: Path) -> None:
    expected = uninterrupted(tmp_path / "whole", autocast=torch.bfloat16)
    run_and_kill(small_training(tmp_path / "killed", autocast=torch.bfloat16), 8)
    training = small_training(tmp_path / "killed", autocast=torch.bfloat16)
    training.trainer.run()
    assert_same_end(end_of(training), expected)


def test_ended_by_terminate_and_resumed(reference: dict[str, Any], tmp_path: Path) -> None:
    training = small_training(tmp_path)
    training.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=7), lambda engine: engine.terminate())
    training.trainer.run()
    training = small_training(tmp_path)
    training.trainer.run()
    assert_same_end(end_of(training), reference)


@pytest.mark.parametrize(("save", "written"), [(1, 1000), (2, 0), (3, None)])
def test_killed_while_a_checkpoint_is_written(
    save: int, written: int | None, reference: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ``save``-th checkpoint is written to its first bytes, or wholly but not renamed."""
    whole, calls = torch.save, []

    def killed_save(state: Any, path: Path) -> None:
        whole(state, path)
        calls.append(path)
        if len(calls) == save:
            path.write_bytes(path.read_bytes()[:written])
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(module.torch, "save", killed_save)
        small_training(tmp_path).trainer.run()
    training = small_training(tmp_path)
    training.trainer.run()
    assert_same_end(end_of(training), reference)


def test_a_completed_run_does_nothing_more(reference: dict[str, Any], tmp_path: Path) -> None:
    uninterrupted(tmp_path)
    training = small_training(tmp_path)
    training.step.network.register_forward_hook(lambda *_: pytest.fail("a completed training trained"))
    completed: list[bool] = []
    training.trainer.add_event_handler(Events.COMPLETED, lambda _: completed.append(True))
    training.trainer.run()
    assert completed == [True]
    assert_same_end(end_of(training), reference)


def test_more_epochs_go_on_from_the_end(reference: dict[str, Any], tmp_path: Path) -> None:
    uninterrupted(tmp_path, max_epochs=1)
    training = small_training(tmp_path)
    training.trainer.run()
    assert_same_end(end_of(training), reference)


def test_the_interval_of_saving_changes_nothing(reference: dict[str, Any], tmp_path: Path) -> None:
    assert_same_end(uninterrupted(tmp_path, save_interval=1), reference)


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    training = small_training(tmp_path, max_epochs=1, rank=1)
    training.trainer.run()
    assert not training.checkpoint.path.exists()


def test_file_holds_nothing_that_needs_unpickling_of_code(tmp_path: Path) -> None:
    uninterrupted(tmp_path, max_epochs=1)
    assert torch.serialization.get_unsafe_globals_in_checkpoint(tmp_path / "checkpoint.pt") == []
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["checkpoint.pt", "history.jsonl"]


def one_line(error: pytest.ExceptionInfo[InputError], path: Path) -> str:
    message = str(error.value)
    assert "\n" not in message and str(path) in message and "expected" in message
    return message


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_name(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"PK", b"KP"))


def another_file(path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, path)


def a_list(path: Path) -> None:
    torch.save([1, 2, 3], path)


@pytest.mark.parametrize("damage", [truncate, damage_name, another_file, a_list, lambda path: path.write_bytes(b"")])
def test_a_damaged_file_is_told_in_one_line(damage: Callable[[Path], None], tmp_path: Path) -> None:
    uninterrupted(tmp_path, max_epochs=1)
    path = tmp_path / "checkpoint.pt"
    damage(path)
    with pytest.raises(InputError) as error:
        small_training(tmp_path).trainer.run()
    assert "cannot be read; remove it to start anew" in one_line(error, path)


@pytest.mark.parametrize(
    ("settings", "named"), [({"base_width": 3}, "(network)"), ({"epoch_length": 6}, "4 there, 6 here")]
)
def test_other_settings_are_told_in_one_line(settings: dict[str, Any], named: str, tmp_path: Path) -> None:
    uninterrupted(tmp_path, max_epochs=1)
    with pytest.raises(InputError) as error:
        small_training(tmp_path, **settings).trainer.run()
    message = one_line(error, tmp_path / "checkpoint.pt")
    assert "other settings" in message and named in message


def test_an_object_that_the_file_lacks_is_told_in_one_line(tmp_path: Path) -> None:
    uninterrupted(tmp_path, max_epochs=1)
    training = small_training(tmp_path)
    training.checkpoint.objects["another"] = nn.Linear(1, 1)
    with pytest.raises(InputError) as error:
        training.trainer.run()
    assert "another" in one_line(error, tmp_path / "checkpoint.pt")


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """A disk with room for ``size`` bytes a file, as far as this process can tell."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_a_full_disk_is_told_in_one_line_and_the_old_file_stays(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    save_weights({"weight": torch.ones(2)}, path)
    with files_limited_to(4096), pytest.raises(InputError) as error:
        save_weights({"weight": torch.zeros(100_000)}, path)
    one_line(error, path)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert load_weights(Weight(2), path).weight.tolist() == [1.0, 1.0]


def test_a_disk_that_fills_up_leaves_the_last_checkpoint_to_resume_from(
    reference: dict[str, Any], tmp_path: Path
) -> None:
    training = small_training(tmp_path)

    def fill(_: Engine) -> None:
        stack.__enter__()

    stack = files_limited_to(8192)
    training.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=7), fill)
    with pytest.raises(InputError) as error:
        training.trainer.run()
    stack.__exit__(None, None, None)
    one_line(error, tmp_path / "checkpoint.pt")
    training = small_training(tmp_path)
    training.trainer.run()
    assert_same_end(end_of(training), reference)


class Weight(nn.Module):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(count))


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_weights_round_trip(name: str, tmp_path: Path) -> None:
    network = DGM(base_width=2, num_res_blocks=1).to(memory_format=torch.channels_last)
    save_weights(network.state_dict(), tmp_path / "new" / name)
    other = DGM(base_width=2, num_res_blocks=1)
    assert load_weights(other, tmp_path / "new" / name) is other
    assert plain(other.state_dict()) == plain(network.state_dict())


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_weights_that_do_not_fit_are_told_in_one_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(InputError, match="there is none; run training first"):
        load_weights(Weight(2), path)
    save_weights({"weight": torch.ones(3)}, path)
    with pytest.raises(InputError) as error:
        load_weights(Weight(2), path)
    assert "weights of Weight as configured" in one_line(error, path)
    for content in (b"", b"not weights"):
        path.write_bytes(content)
        with pytest.raises(InputError) as error:
            load_weights(Weight(2), path)
        one_line(error, path)


def test_shipped_weights_come_before_trained_ones(tmp_path: Path) -> None:
    assert find_weights(tmp_path) == str(tmp_path / "model.pt")
    shipped = tmp_path / "shipped" / "model.safetensors"
    shipped.parent.mkdir()
    shipped.touch()
    assert find_weights(tmp_path) == str(shipped)


def test_settings_of_a_model_lie_beside_its_weights(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    paper = read_model_settings(path)
    (tmp_path / "model.json").write_text(json.dumps({"base_width": 16}))
    assert read_model_settings(path) == {**paper, "base_width": 16}
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(InputError) as error:
        read_model_settings(path)
    one_line(error, tmp_path / "model.json")


def test_random_state_comes_back(tmp_path: Path) -> None:
    def draw() -> tuple[list[float], list[float], list[float]]:
        return torch.randn(3).tolist(), np.random.randn(3).tolist(), [random.gauss(0, 1) for _ in range(3)]

    np.random.randn(1)  # leaves a cached second value behind
    random.gauss(0, 1)
    torch.save(random_state(), tmp_path / "state.pt")
    drawn = draw()
    assert draw() != drawn
    set_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert draw() == drawn


# The same with SIGKILL, from outside.

KILLS, EPOCHS = 10, 30


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


def start(folder: Path) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, __file__, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def follow_to(process: subprocess.Popen[str], iterations: int) -> float:
    """Wait until as many iterations have started; returns how long the last of them took, in seconds."""
    assert process.stdout is not None
    seen = [time.monotonic()]
    for _ in range(iterations):
        assert process.stdout.readline(), "the training ended before it could be killed"
        seen.append(time.monotonic())
    return seen[-1] - seen[-2]


@pytest.mark.slow
def test_killed_ten_times_at_random_moments_and_resumed_until_done(tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    reference = start(whole)
    moments = random.Random(time.time_ns())
    reached, torn = [], 0
    for kill in range(KILLS):
        process = start(folder)
        duration = follow_to(process, moments.randint(2, EPOCHS * EPOCH_LENGTH // (KILLS + 1)))
        if kill % 3 == 2:  # these while a file is being written
            while not any(folder.glob(".partial-*")):
                assert process.poll() is None
        else:
            time.sleep(moments.uniform(0, 2 * min(duration, 1.0)))
        assert process.poll() is None, "the training ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        leftovers = list(folder.glob(".partial-*"))
        torn += bool(leftovers)
        for leftover in leftovers:  # a bundle's `prepare_run` does that
            leftover.unlink()
        path = folder / "checkpoint.pt"
        reached.append(torch.load(path, weights_only=True)["engine"]["iteration"] if path.exists() else 0)
    for process in (start(folder), reference):
        process.communicate()
        assert process.returncode == 0
    print(f"killed at iterations {reached} of {EPOCHS * EPOCH_LENGTH}, {torn} times with a file half written")
    assert torn > 0 and reached == sorted(reached) and reached[-1] > 0
    assert json.loads((folder / "end.json").read_text()) == json.loads((whole / "end.json").read_text())
    assert (folder / "history.jsonl").read_bytes() == (whole / "history.jsonl").read_bytes()
    ends = [plain(torch.load(each / "checkpoint.pt", weights_only=True)) for each in (folder, whole)]
    assert ends[0] == ends[1]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
