"""``monai-dgm archive``: many radiographs into Parquet and DICOM objects, on one machine or a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monai_dgm.cli.models import BatchOption, BundlesOption, RuntimeOption, weights_paths
from monai_dgm.cli.output import JsonOption, VerboseOption, print_json, print_pairs, start_logging
from monai_dgm.errors import UsageError

if TYPE_CHECKING:
    from monai_dgm.archive.run import ArchiveJob

LOGIN = "MONAI_DGM_ARCHIVE_LOGIN"
BAD = ("failed", "unread", "unsent")


def archive(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Folder, fsspec address, DICOMweb address, or .txt list of files.")
    ],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the results; every machine has to see it.")],
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster; default: this machine alone.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes with networks; default: one a core.")] = None,
    gpus: Annotated[float, typer.Option(min=0, help="Share of a GPU for each of them.")] = 0.0,
    stow: Annotated[str | None, typer.Option(help="DICOMweb address that gets SR, SEG and SC of each image.")] = None,
    since: Annotated[str, typer.Option(help="Of a DICOMweb source: a date, a number of days (30d), or all.")] = "",
    modalities: Annotated[str, typer.Option(help="Of a DICOMweb source, such as CR,DX.")] = "",
    query: Annotated[str, typer.Option(help="Matching keys of QIDO-RS, StudyDescription=*THORAX*.")] = "",
    retry_failed: Annotated[bool, typer.Option(help="Try files again that could not be used.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Only say how long it takes and how much it writes.")] = False,
    bundles: BundlesOption = None,
    runtime: RuntimeOption = "auto",
    batch_size: BatchOption = 4,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> int:
    """Look at all radiographs of an archive: one row each in OUT/images/*.parquet. It needs the extra archive.

    The same command goes on where it was stopped: an image is done once for its content, the models and the settings.
    User and password of DICOMweb services are in the environment variable MONAI_DGM_ARCHIVE_LOGIN, as user:password.
    """
    start_logging(verbose)
    from monai_dgm.utils.light_import import import_monai_lightly

    import_monai_lightly()
    from monai_dgm.archive.run import ArchiveJob, Cluster
    from monai_dgm.archive.settings import MODELS, ArchiveSettings

    paths = {name: path for name, path in weights_paths(bundles).items() if name in MODELS}
    device = "cuda" if gpus else "cpu"
    settings = ArchiveSettings.of(paths, runtime, device, batch_size=batch_size, stow=stow)
    job = ArchiveJob.of(source, output, settings, stow, _login(), _wanted(since, modalities, query))
    if dry_run:
        found = _estimate(job, workers or os.cpu_count() or 1)
        _print("estimate", found, _described(found), as_json)
        return 0
    total = _run(job, Cluster(address, workers, gpus), retry_failed)
    _print(str(output), total, {name: str(number) for name, number in total.items()}, as_json)
    return 1 if any(total.get(name) for name in BAD) else 0


def _print(title: str, values: Mapping[str, Any], described: Mapping[str, str], as_json: bool) -> None:
    if as_json:
        print_json(values)
        return
    print_pairs(title, described)
    typer.secho("Research software; not a medical device.", dim=True)


def _run(job: ArchiveJob, cluster: Any, retry_failed: bool) -> dict[str, int]:
    from tqdm import tqdm

    total: dict[str, int] = {}
    with tqdm(desc="looked at", unit="image", disable=None) as bar:
        for counts in job.run(cluster, retry_failed):
            if "new" in counts:
                bar.reset(counts["new"])
            bar.update(sum(number for name, number in counts.items() if name not in ("new", "bytes")))
            for name, number in counts.items():
                total[name] = total.get(name, 0) + number
    return total


def _estimate(job: ArchiveJob, workers: int) -> dict[str, Any]:
    from monai_dgm.archive.estimate import estimate

    images = job.images()
    new, (read, run, _) = job.new_ones(images)
    return estimate(new, len(images), read, run, job.chunk, workers).as_dict()


def _described(found: Mapping[str, Any]) -> dict[str, str]:
    hours = "nothing to do" if found["hours"] is None else f"{found['hours']:.2f} h on {found['workers']} cores"
    return {
        "images": f"{found['listed']}, of which {found['new']} are new",
        "time": hours,
        "an image": "" if found["seconds_per_image"] is None else f"{found['seconds_per_image']:.3f} s of a core",
        "Parquet": f"{found['parquet_bytes'] / 1e6:.1f} MB",
        "DICOM objects": f"{found['object_bytes'] / 1e6:.1f} MB",
        "sample": f"{found['sampled']} images, {found['failed']} could not be used",
    }


def _login() -> tuple[str, str] | None:
    text = os.environ.get(LOGIN)
    if not text:
        return None
    user, colon, password = text.partition(":")
    if not colon:
        raise UsageError(f"{LOGIN}: expected user:password")
    return user, password


def _wanted(since: str, modalities: str, query: str) -> Any:
    from monai_dgm.labelling.archive.wanted_images import WantedImages

    return WantedImages.of(modalities, since, "", query)
