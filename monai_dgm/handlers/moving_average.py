"""Moving average of the generator's weights whose warm-up a resumed training repeats."""

from __future__ import annotations

from ignite.engine import Engine
from ignite.handlers import EMAHandler
from torch import nn

__all__ = ["MovingAverage", "warm_momentum"]


def warm_momentum(iteration: int, momentum: float, warmup_momentum: float, warmup_iters: int) -> float:
    """Share of the present weights in the average after an iteration: linear from ``warmup_momentum`` to ``momentum``.

    Args:
        iteration: counted from 1.
        momentum: share after the warm-up.
        warmup_momentum: share at iteration 1, larger, so that the initial weights are soon forgotten.
        warmup_iters: iteration from which on the share is ``momentum``.
    """
    done = min(1.0, (iteration - 1) / max(1, warmup_iters - 1))
    return warmup_momentum + (momentum - warmup_momentum) * done


class MovingAverage(EMAHandler):
    """Ignite's :class:`EMAHandler`, with the warm-up a function of the trainer's iteration.

    Ignite's counts calls since it was attached, so a resumed training would warm up once more. ``ema_model`` is what
    validation, checkpoint and the saved model use.

    Args:
        model: the network that is trained.
        momentum: share of the present weights after the warm-up, in (0, 1).
        warmup_momentum: share at the first iteration.
        warmup_iters: iterations of warm-up.
        handle_buffers: "copy", or "update" to average buffers as well: those of batch norms belong to the weights.
    """

    def __init__(
        self,
        model: nn.Module,
        momentum: float = 0.002,
        warmup_momentum: float = 0.1,
        warmup_iters: int = 500,
        handle_buffers: str = "copy",
    ) -> None:
        super().__init__(model, momentum, handle_buffers=handle_buffers)
        self.warmup_momentum = warmup_momentum
        self.warmup_iters = warmup_iters

    def _update_ema_model(self, engine: Engine, name: str) -> None:
        iteration = engine.state.iteration
        setattr(engine.state, name, warm_momentum(iteration, self.momentum, self.warmup_momentum, self.warmup_iters))
        super()._update_ema_model(engine, name)
