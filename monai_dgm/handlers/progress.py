"""Progress bar with the losses and the time left, and the scalar view of a step's output that loggers share."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers.tqdm_logger import ProgressBar
from torch import Tensor

__all__ = ["LossProgressBar", "scalar_outputs"]

_SHOWN = ("loss", "adversarial", "reconstruction", "blank_residue", "abnormality", "discriminator")


def scalar_outputs(output: dict[str, Tensor]) -> dict[str, float]:
    """The scalars of a training step's output (losses, D's scores), without its images."""
    return {name: value.item() for name, value in output.items() if isinstance(value, Tensor) and value.dim() == 0}


class LossProgressBar:
    """Ignite's progress bar over the whole training, in iterations, with the main losses.

    Args:
        interval: iterations between two redraws; each reads the losses from the device.
        names: of the step's outputs to show.
    """

    def __init__(self, interval: int = 10, names: tuple[str, ...] = _SHOWN) -> None:
        self.interval = interval
        self.names = names

    def attach(self, engine: Engine) -> None:
        """Show the bar for this engine (MONAI's handlers are attached without arguments)."""
        bar = ProgressBar(bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed}<{remaining}{postfix}", ncols=160)
        bar.attach(
            engine,
            output_transform=self._shown,
            event_name=Events.ITERATION_COMPLETED(every=self.interval),
            closing_event_name=Events.COMPLETED,
        )

    def _shown(self, output: dict[str, Tensor]) -> dict[str, Any]:
        return {name: output[name].item() for name in self.names if name in output}
