"""The steps of a run on Ray: on this machine, or on a cluster.

A pool of processes takes the chunks. Ray Data is not used: its loop that plans the next task and its three processes
take processor time all the while, and there is little to plan.
"""

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
from monai_dgm.archive.packages import import_package, import_ray
from monai_dgm.archive.processes import ImagesProcess, SendingProcess
from monai_dgm.archive.stages import ReadImages, RunModels, StoreResults
from monai_dgm.errors import InputError, in_one_line

__all__ = ["count_workers", "ray_cluster", "run_on_ray"]

NETWORKS = 0.5  # of a core for a process with networks
CHUNKS = 2  # that such a process has at a time: one with the networks, one that is fetched or stored
STORE_BYTES = 1 << 30  # of shared memory on this machine, for chunks with DICOM objects that wait to be sent
FOLDER = "monai-dgm-ray-"
SENDERS = 2  # chunks whose objects are stored in an archive at a time
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
    logging.getLogger("ray").setLevel(logging.CRITICAL)
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


def _places(ray: Any, gpus: float) -> int:
    """Processes with networks that the cluster has room for; one more would wait for ever.

    Raises:
        InputError: none.
    """
    there = ray.cluster_resources()
    places = int(there.get("CPU", 0) / NETWORKS)
    if gpus:
        places = min(places, int(there.get("GPU", 0) / gpus))
    if not places:
        raise InputError(f"ray: expected a cluster with free cores{' and GPUs' if gpus else ''}, got one without")
    return places


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
    workers = min(workers, -(-len(images) // chunk), _places(ray, gpus))
    shared = [ray.put(steps)]  # once on each machine, for the first one knows all images that are done
    lasting = {"max_restarts": -1, "max_task_retries": -1}
    process = ray.remote(ImagesProcess).options(num_cpus=NETWORKS, num_gpus=gpus, max_concurrency=CHUNKS, **lasting)
    pool = import_package("ray.util").ActorPool([process.remote(shared) for _ in range(workers)] * CHUNKS)
    sender = None
    if steps[2].sender is not None:
        sender = ray.remote(SendingProcess).options(num_cpus=0, max_concurrency=SENDERS, **lasting).remote(shared)

    def submit(actor: Any, some: Sequence[ArchiveImage]) -> Any:
        works = actor.work.remote(some)
        return works if sender is None else sender.store.remote(works)

    chunks = [images[start : start + chunk] for start in range(0, len(images), chunk)]
    try:
        yield from pool.map_unordered(submit, chunks)
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
