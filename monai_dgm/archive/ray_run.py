"""The steps of a run on Ray Data: on this machine, or on a cluster."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monai_dgm.archive.image_list import ArchiveImage
from monai_dgm.archive.packages import import_package, import_ray
from monai_dgm.archive.stages import ImageWork, ReadImages, RunModels, StoreResults
from monai_dgm.errors import InputError, in_one_line
from monai_dgm.utils.light_import import import_monai_lightly

__all__ = ["count_workers", "ray_cluster", "run_on_ray"]

READER, NETWORKS, STORER = 0.4, 0.5, 0.1  # of a core for a process of each step, so that one core is enough for all
STORE_BYTES = 1 << 30  # of shared memory on this machine; Ray Data holds the steps back when it is full
FOLDER = "monai-dgm-ray-"
SENDERS = 2  # processes that store objects in an archive at a time
# Ray's own settings of a cluster that this command starts
LOCAL = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # the name is misleading: all ports on the loopback address alone
    "RAY_AUTH_MODE": "token",
    "RAY_worker_niceness": "0",  # else 15, beside which every other program comes first
}


@contextmanager
def ray_cluster(address: str | None = None, workers: int | None = None) -> Iterator[Any]:
    """Ray, connected while the block runs.

    Args:
        address: of a cluster that runs; None starts one on this machine that ends with the block. Its ports are on the
            loopback address and ask for a token; it has no dashboard; its files are private and are removed.
        workers: cores of this machine; None for all. Not used with an address.

    Yields:
        the module.

    Raises:
        InputError: Ray is not installed, does not start, or there is no cluster.
    """
    if address is None:  # before Ray is imported; processes that it starts inherit them
        os.environ |= {**LOCAL, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    ray = import_ray()
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    hook = f"{import_monai_lightly.__module__}.{import_monai_lightly.__name__}"
    options: dict[str, Any] = {
        "runtime_env": {"worker_process_setup_hook": hook},  # its processes start in a third of the time
        "log_to_driver": False,
        "logging_level": logging.CRITICAL,
    }
    folder = None
    try:
        if address is None:
            _remove_left_folders()
            folder = tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-")
            ray.init(
                num_cpus=workers,
                include_dashboard=False,
                object_store_memory=STORE_BYTES,
                _temp_dir=folder,
                **options,
            )
        else:
            ray.init(address=address, **options)
    except Exception as error:
        shutil.rmtree(folder or "", ignore_errors=True)
        where = "on this machine" if address is None else f"at {address}"
        raise InputError(f"ray: expected a cluster {where}, it cannot be used ({type(error).__name__})") from error
    try:
        if address is None and not ray.util.get_node_ip_address().startswith("127."):
            raise InputError("ray: expected a cluster on the loopback address; Ray was imported before with others")
        yield ray
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_left_folders() -> None:
    """Folders of this user's runs that were killed: what Ray put on the disk for want of memory may show patients."""
    for path in Path(tempfile.gettempdir()).glob(f"{FOLDER}*-*"):
        pid = path.name.removeprefix(FOLDER).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and path.stat().st_uid == os.getuid():
            shutil.rmtree(path, ignore_errors=True)


def count_workers(ray: Any) -> int:
    """Cores of the cluster: as many processes run networks."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def run_on_ray(
    ray: Any,
    images: Sequence[ArchiveImage],
    chunk: int,
    steps: tuple[ReadImages, RunModels, StoreResults],
    workers: int,
    gpus: float = 0,
) -> Iterator[dict[str, int]]:
    """Run the steps on all images.

    A task that is lost with its process or machine is run again by Ray, from the reading on if need be; each step gives
    the same result again, and the last one writes the same file.

    Args:
        ray: of :func:`ray_cluster`.
        images: all.
        chunk: number of images that go through the steps together.
        steps: of the run.
        workers: processes that run networks.
        gpus: share of a GPU that each of them takes.

    Yields:
        what the last step says of each chunk, in any order.

    Raises:
        InputError: what stops the run, such as a full disk or weights that cannot be used.
    """
    read, run, store = steps
    ray.data.DataContext.get_current().enable_progress_bars = False
    workers = min(workers, -(-len(images) // chunk))
    reader = ray.put(read)  # once on each machine, for it knows all images that are done
    storing = {"num_cpus": STORER, "concurrency": workers if store.sender is None else SENDERS}
    whole: dict[str, Any] = {"batch_size": None, "batch_format": "pyarrow", "zero_copy_batch": True}
    actors = {"num_cpus": NETWORKS, "num_gpus": gpus or None, "concurrency": workers}
    data = (
        ray.data.from_arrow([_table(images[start : start + chunk]) for start in range(0, len(images), chunk)])
        .map_batches(lambda batch: _packed(ray, ray.get(reader)(_images(batch))), num_cpus=READER, **whole)
        .map_batches(_Networks, fn_constructor_args=(run,), **actors, **whole)
        .map_batches(lambda batch: _counted(store(_unpacked(ray, batch))), **storing, **whole)
    )
    try:
        for counts in data.iter_rows():
            yield {name: int(number) for name, number in counts.items()}
    except Exception as error:
        raise InputError(_reason(error)) from error


def _table(images: Sequence[ArchiveImage]) -> Any:
    names = ("identifier", "address", "stamp")
    return import_package("pyarrow").table({name: [getattr(image, name) for image in images] for name in names})


def _images(batch: Any) -> list[ArchiveImage]:
    return [ArchiveImage(**row) for row in batch.to_pylist()]


def _packed(ray: Any, works: Sequence[ImageWork]) -> Any:
    """One column of pickled objects. Ray would pickle them too, but first try to make columns of them, and log them."""
    pa = import_package("pyarrow")
    return pa.table({"work": pa.array([ray.cloudpickle.dumps(work) for work in works], pa.large_binary())})


def _unpacked(ray: Any, batch: Any) -> list[ImageWork]:
    return [ray.cloudpickle.loads(item) for item in batch.column("work").to_pylist()]


def _counted(counts: dict[str, int]) -> Any:
    return import_package("pyarrow").table({name: [number] for name, number in counts.items()})


class _Networks:
    """The step as Ray Data makes one in each process that runs networks."""

    def __init__(self, run: RunModels) -> None:
        import torch

        torch.set_num_threads(1)  # one process a core
        self.run = run

    def __call__(self, batch: Any) -> Any:
        ray = import_ray()
        return _packed(ray, self.run(_unpacked(ray, batch)))


def _reason(error: BaseException) -> str:
    """Our own message where there is one, else the kind of the error: messages of Ray have tracebacks and addresses."""
    seen: BaseException | None = error
    while seen is not None:
        cause = getattr(seen, "cause", None)
        for one in (cause, seen):
            if isinstance(one, InputError) and not hasattr(one, "cause"):
                return in_one_line(one)
        seen = seen.__cause__ or (cause if cause is not seen else None)
    return f"ray: the run ended early ({type(error).__name__})"
