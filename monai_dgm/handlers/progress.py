"""Progress bar with the losses and the time left, and the scalar view of a step's output that loggers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ignite.engine import Engine, Events
from torch import Tensor
from tqdm import tqdm

from monai_dgm.engines.training.trainer import step_output

__all__ = ["LossProgressBar", "scalar_outputs"]

_SHOWN = ("loss", "adversarial", "reconstruction", "blank_residue", "abnormality", "discriminator")


def scalar_outputs(output: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """The scalars of a training step's output (losses, D's scores), without its images."""
    return {name: value.item() for name, value in output[0].items() if isinstance(value, Tensor) and value.dim() == 0}


class LossProgressBar:
    """Progress over the whole training with the main losses and the time left.

    Ignite's bar spans one epoch; here the time left is that of the training, also when it was resumed.

    Args:
        interval: iterations between two redraws; each reads the losses from the device.
        names: of the step's outputs to show.
    """

    def __init__(self, interval: int = 10, names: tuple[str, ...] = _SHOWN) -> None:
        self.interval = interval
        self.names = names
        self._bar: tqdm | None = None

    def attach(self, engine: Engine) -> None:
        """Show the bar for this engine."""
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self._update)
        engine.add_event_handler(Events.COMPLETED, self._close)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._fail)

    def _update(self, engine: Engine) -> None:
        state: Any = engine.state
        if self._bar is None:
            total = state.max_epochs * state.epoch_length
            self._bar = tqdm(total=total, initial=state.iteration - self.interval, mininterval=1.0, dynamic_ncols=True)
        self._bar.set_description(f"epoch {state.epoch}/{state.max_epochs}", refresh=False)
        output = step_output(engine)
        losses = {name: f"{output[name].item():.3g}" for name in self.names if name in output}
        self._bar.set_postfix(losses, refresh=False)
        self._bar.update(state.iteration - self._bar.n)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _fail(self, error: BaseException) -> None:
        self._close()
        raise error  # Ignite takes an error for dealt with when a handler of this event returns
