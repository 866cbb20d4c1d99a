"""The progress bar: where the whole training stands, and no error that it keeps to itself."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine, Events
from torch import Tensor

from monai_dgm.handlers.progress import LossProgressBar, scalar_outputs


def step(engine: Engine, batch: int) -> list[dict[str, Tensor]]:
    if batch < 0:
        raise batch_error()
    value = torch.tensor(float(engine.state.iteration))
    return [{"loss": value / 8, "discriminator": value, "residue": torch.zeros(1, 1, 2, 2)}]


def batch_error() -> RuntimeError:
    return RuntimeError("a batch below zero")


def test_scalars_are_told_apart_from_images() -> None:
    output = [{"loss": torch.tensor(2.5), "image": torch.zeros(2, 1, 4, 4), "label": torch.zeros(2)}]
    assert scalar_outputs(output) == {"loss": 2.5}


def test_shows_losses_and_the_whole_training(capsys: pytest.CaptureFixture[str]) -> None:
    engine = Engine(step)
    LossProgressBar(interval=2).attach(engine)
    engine.run([1] * 6, max_epochs=3)
    shown = capsys.readouterr().err
    assert "epoch 3/3" in shown and "18/18" in shown and "100%" in shown
    assert "loss=2.25" in shown and "discriminator=18" in shown and "residue" not in shown


def test_a_resumed_training_starts_where_it_stood(capsys: pytest.CaptureFixture[str]) -> None:
    engine = Engine(step)
    LossProgressBar(interval=1).attach(engine)

    def resume(engine: Engine) -> None:
        engine.state.iteration, engine.state.epoch = 12, 2

    engine.add_event_handler(Events.STARTED, resume)
    engine.run([1] * 6, max_epochs=3)
    shown = capsys.readouterr().err
    assert "18/18" in shown and "12/18" in shown and " 1/18" not in shown


def test_bar_ends_with_its_training_and_another_may_follow(capsys: pytest.CaptureFixture[str]) -> None:
    bar, engine = LossProgressBar(interval=1), Engine(step)
    bar.attach(engine)
    engine.run([1] * 3, max_epochs=1)
    assert bar._bar is None
    engine.run([1] * 3, max_epochs=2)
    assert "6/6" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["step", "start", "interrupt"])
def test_an_error_is_not_swallowed(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Ignite takes an error for dealt with as soon as anybody listens for it."""
    engine = Engine(step)
    LossProgressBar(interval=1).attach(engine)

    def fail(_: Engine) -> None:
        raise KeyboardInterrupt if place == "interrupt" else batch_error()

    if place == "start":
        engine.add_event_handler(Events.STARTED, fail)
    if place == "interrupt":
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), fail)
    with pytest.raises(KeyboardInterrupt if place == "interrupt" else RuntimeError):
        engine.run([1, 1, -1] if place == "step" else [1, 1, 1], max_epochs=1)
    capsys.readouterr()
