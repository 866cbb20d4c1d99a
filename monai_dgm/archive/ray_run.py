"""The steps of a run on Ray Data: on this machine, or on a cluster."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monai_dgm.archive.image_list import ArchiveImage
from monai_dgm.archive.packages import import_ray
from monai_dgm.archive.stages import ReadImages, RunModels, StoreResults
from monai_dgm.archive.transport import NetworksProcess, images_table, read_table, store_table
from monai_dgm.errors import InputError, in_one_line

__all__ = ["count_workers", "ray_cluster", "run_on_ray"]

NETWORKS = 0.5  # of a core for a process with networks
# Reading and storing claim nothing: else the networks of a lost machine, started again on another, could take all that
# is left there and wait for images for ever.
UNCLAIMED = 0
STORE_BYTES = 1 << 30  # of shared memory on this machine; Ray Data holds the steps back when it is full
FOLDER = "monai-dgm-ray-"
SENDERS = 2  # processes that store objects in an archive at a time
# Ray's own settings of a cluster that this command starts
LOCAL = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # the name is misleading: all ports on the loopback address alone
    "RAY_AUTH_MODE": "token",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # its warnings to programmers would be between the lines of the command
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
    if address is None:  # Ray reads some of them when it is imported; processes that it starts inherit them
        if "ray" in sys.modules and os.environ.get("RAY_AUTH_MODE") != "token":
            raise InputError("ray: expected a process that has not imported Ray; with an address it may be any")
        # one token for all clusters of a process: Ray reads it once
        os.environ |= {**LOCAL, "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32)}
    ray = import_ray()
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
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
                **quiet,
            )
        else:
            ray.init(address=address, **quiet)
    except Exception as error:
        shutil.rmtree(folder or "", ignore_errors=True)
        where = "on this machine" if address is None else f"at {address}"
        raise InputError(f"ray: expected a cluster {where}, it cannot be used ({type(error).__name__})") from error
    try:
        if address is None and not ray.util.get_node_ip_address().startswith("127."):
            raise InputError("ray: expected a cluster on the loopback address, it started on another")
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
    # once on each machine, for the first knows all images that are done
    reader, runner, storer = (ray.put(step) for step in (read, run, store))
    whole: dict[str, Any] = {"batch_size": None, "batch_format": "pyarrow", "zero_copy_batch": True}
    actors = {"num_cpus": NETWORKS, "num_gpus": gpus or None, "concurrency": workers}
    storing = {"num_cpus": UNCLAIMED, "concurrency": workers if store.sender is None else SENDERS}
    data = (
        ray.data.from_arrow([images_table(images[start : start + chunk]) for start in range(0, len(images), chunk)])
        .map_batches(lambda table: read_table(reader, table), num_cpus=UNCLAIMED, concurrency=workers, **whole)
        .map_batches(NetworksProcess, fn_constructor_args=([runner],), **actors, **whole)
        .map_batches(lambda table: store_table(storer, table), **storing, **whole)
    )
    try:
        for counts in data.iter_rows():
            yield {name: int(number) for name, number in counts.items()}
    except Exception as error:
        raise InputError(_reason(error)) from error


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
