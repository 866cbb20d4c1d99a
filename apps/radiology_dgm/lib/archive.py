"""Where the studies are: a folder, or a DICOMweb archive with its watch."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

from monailabel.config import settings as platform

from monai_dgm.errors import InputError
from monai_dgm.labelling.server.studies import Studies, StudyFolder

logger = logging.getLogger(__name__)

CACHE_GIGABYTES = 2.0
POLL_SECONDS = 5.0


def is_archive(studies: str) -> bool:
    """Whether --studies is an address instead of a folder."""
    return studies.startswith(("http://", "https://"))


def state_folder(studies: str) -> Path:
    """Where labels and scores are kept: with the studies of a folder, with the user's data for those of an archive."""
    if not is_archive(studies):
        return Path(studies) / ".monai_dgm"
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return home / "monai-dgm" / hashlib.sha256(studies.rstrip("/").encode()).hexdigest()[:12]


def open_studies(settings: Any) -> Studies:
    """The radiographs that ``settings.studies`` names.

    Raises:
        InputError: an address or a setting that cannot be used, or dicomweb-client is not installed.
    """
    if not is_archive(settings.studies):
        return StudyFolder(settings.studies)
    from monai_dgm.labelling.archive.archive_client import ArchiveClient
    from monai_dgm.labelling.archive.archive_studies import StudyArchive
    from monai_dgm.labelling.archive.instance_cache import DicomCache

    user, password = platform.MONAI_LABEL_DICOMWEB_USERNAME, platform.MONAI_LABEL_DICOMWEB_PASSWORD
    client = ArchiveClient(settings.studies, (user, password or "") if user else None)
    folder = settings.get("cache_dir", str(settings.state_dir / "cache"))
    size = number(settings, "cache_gigabytes", CACHE_GIGABYTES)
    logger.info("an archive's studies; labels and scores are in %s", settings.state_dir)
    return StudyArchive(client, DicomCache(folder, int(size * 1e9)))


def make_watch(app: Any) -> Any:
    """The watch over the app's archive; None for studies of a folder."""
    if not is_archive(app.settings.studies):
        return None
    from monai_dgm.labelling.archive.archive_state import ArchiveState
    from monai_dgm.labelling.archive.archive_watcher import ArchiveWatch
    from monai_dgm.labelling.archive.reports import ArchiveReports
    from monai_dgm.labelling.archive.sent_results import ArchiveResults

    studies, state = app.analysis.studies, ArchiveState(app.settings.state_dir / "archive.sqlite")
    send = app.settings.get("send_results", "true").lower()
    if send not in ("true", "false"):
        raise InputError("send_results: expected true or false")
    return ArchiveWatch(
        ArchiveResults(app.analysis, studies, app.submissions, state),
        ArchiveReports(studies, app.submissions, state),
        number(app.settings, "poll_seconds", POLL_SECONDS),
        send == "true",
        app.selection.start,
    )


def number(settings: Any, name: str, default: float) -> float:
    """A setting that is a positive number.

    Raises:
        InputError: it is another one.
    """
    try:
        value = float(settings.get(name, str(default)))
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise InputError(f"{name}: expected a positive number")
    return value
