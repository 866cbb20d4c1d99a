"""The moving average: its warm-up, its recursion, and that it follows the trainer's iteration."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from monai_dgm.handlers.moving_average import MovingAverage, warm_momentum


def test_warm_up_is_linear_and_then_over() -> None:
    shares = [warm_momentum(i, momentum=0.01, warmup_momentum=0.1, warmup_iters=10) for i in range(1, 14)]
    assert shares[0] == 0.1
    assert shares[:10] == pytest.approx([0.1 - 0.01 * i for i in range(10)])
    assert shares[9:] == pytest.approx([0.01] * 4)
    assert warm_momentum(1, 0.01, 0.1, 1) == 0.1 and warm_momentum(2, 0.01, 0.1, 1) == pytest.approx(0.01)


def run(start: int, stop: int, average: MovingAverage, model: nn.Linear) -> None:
    def update(engine: Engine, _: object) -> None:
        with torch.no_grad():
            model.weight.fill_(engine.state.iteration**2)

    engine = Engine(update)
    average.attach(engine)
    engine.load_state_dict({"iteration": start, "max_epochs": 1, "epoch_length": stop})
    engine.run([0] * stop)


def test_average_is_the_recursion_of_its_shares_and_goes_on_after_a_resume() -> None:
    expected = 0.5
    for i in range(1, 13):
        share = warm_momentum(i, 0.05, 0.3, 8)
        expected = (1 - share) * expected + share * i**2
    for stops in ([12], [5, 12]):
        model = nn.Linear(1, 1, bias=False)
        nn.init.constant_(model.weight, 0.5)
        state, start = model.state_dict(), 0
        for stop in stops:
            average = MovingAverage(model, momentum=0.05, warmup_momentum=0.3, warmup_iters=8)
            average.ema_model.load_state_dict(state)
            run(start, stop, average, model)
            state, start = average.ema_model.state_dict(), stop
        assert state["weight"].item() == pytest.approx(expected, rel=1e-5)
        assert not average.ema_model.training


def test_buffers_are_averaged_like_weights_where_asked_for() -> None:
    """The statistics of batch norms belong to the weights."""
    for handle_buffers, expected in (("copy", 1.0), ("update", 0.3)):
        model = nn.BatchNorm2d(1)
        average = MovingAverage(model, 0.05, 0.3, 8, handle_buffers)
        engine = Engine(lambda *_, model=model: model.running_mean.fill_(1.0))
        average.attach(engine)
        engine.run([0], max_epochs=1)
        assert average.ema_model.running_mean.item() == pytest.approx(expected)
