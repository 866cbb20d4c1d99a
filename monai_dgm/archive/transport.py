"""The steps as Ray calls them in its processes: tables in and out, and what is heavy is imported when a step runs.

Ray Data also starts processes of its own, which import what its functions name: this module, which is light.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from monai_dgm.archive.packages import import_package, import_ray
from monai_dgm.utils.light_import import import_monai_lightly

if TYPE_CHECKING:
    from monai_dgm.archive.image_list import ArchiveImage
    from monai_dgm.archive.stages import ImageWork

__all__ = ["NetworksProcess", "images_table", "read_table", "store_table"]


def images_table(images: Sequence[ArchiveImage]) -> Any:
    """Images as a :class:`pyarrow.Table`."""
    names = ("identifier", "address", "stamp")
    return import_package("pyarrow").table({name: [getattr(image, name) for image in images] for name in names})


def read_table(reader: Any, table: Any) -> Any:
    """Read the images of a table.

    Args:
        reader: reference to :class:`monai_dgm.archive.stages.ReadImages`.
        table: of :func:`images_table`.
    """
    import_monai_lightly()
    from monai_dgm.archive.image_list import ArchiveImage

    return _packed(import_ray().get(reader)([ArchiveImage(**row) for row in table.to_pylist()]))


def store_table(storer: Any, table: Any) -> Any:
    """Store what the networks gave; ``storer`` refers to :class:`monai_dgm.archive.stages.StoreResults`."""
    import_monai_lightly()
    counts = import_ray().get(storer)(_unpacked(table))
    return import_package("pyarrow").table({name: [number] for name, number in counts.items()})


class NetworksProcess:
    """A process that runs networks; ``runner`` refers to :class:`monai_dgm.archive.stages.RunModels`."""

    def __init__(self, runner: Any) -> None:
        import_monai_lightly()
        import torch

        torch.set_num_threads(1)  # one process a core
        self.run = import_ray().get(runner[0])

    def __call__(self, table: Any) -> Any:
        """One chunk."""
        return _packed(self.run(_unpacked(table)))


def _packed(works: Sequence[ImageWork]) -> Any:
    """One column of pickled objects. Ray would pickle them too, but first try to make columns of them, and log them."""
    pa, pickle = import_package("pyarrow"), import_package("ray.cloudpickle")
    return pa.table({"work": pa.array([pickle.dumps(work) for work in works], pa.large_binary())})


def _unpacked(table: Any) -> list[ImageWork]:
    pickle = import_package("ray.cloudpickle")
    return [pickle.loads(item) for item in table.column("work").to_pylist()]
