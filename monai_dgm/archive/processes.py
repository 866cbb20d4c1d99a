"""The processes of a run on Ray. A picture stays in the process that reads it; what is heavy is imported there.

Ray imports this module in each of them, so it is light.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from monai_dgm.archive.packages import import_ray
from monai_dgm.utils.light_import import import_monai_lightly

if TYPE_CHECKING:
    from monai_dgm.archive.image_list import ArchiveImage
    from monai_dgm.archive.stages import ImageWork

__all__ = ["ImagesProcess", "SendingProcess"]


class ImagesProcess:
    """A process that takes chunks of images through the steps.

    Ray calls it from two threads: while the networks work on one chunk, the other is fetched or stored.

    Args:
        steps: list of one reference to :class:`monai_dgm.archive.stages.ReadImages`, ``RunModels`` and
            ``StoreResults``.
    """

    def __init__(self, steps: Sequence[Any]) -> None:
        import_monai_lightly()
        import torch

        torch.set_num_threads(1)  # one process a core
        self.read, self.run, self.store = import_ray().get(steps[0])
        self.networks = threading.Lock()

    def work(self, chunk: Sequence[ArchiveImage]) -> list[ImageWork] | dict[str, int]:
        """What the last step says of a chunk; where that one sends objects, the work, for a :class:`SendingProcess`."""
        works = self.read(chunk)
        with self.networks:
            works = self.run(works)
        return works if self.store.sender is not None else self.store(works)


class SendingProcess:
    """A process that sends DICOM objects and stores the rows; ``steps`` as above."""

    def __init__(self, steps: Sequence[Any]) -> None:
        import_monai_lightly()
        _, _, self.step = import_ray().get(steps[0])

    def store(self, works: Sequence[ImageWork]) -> dict[str, int]:
        """What the last step says of a chunk."""
        return self.step(works)
