"""Settings of the app, and the parts that are made from them: studies, models, training, viewer, archive watcher.

A setting comes from the command line (``--conf NAME VALUE``), else from the environment (``MONAI_DGM_NAME``), else it
has the default below.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from monailabel.config import settings as monai_label
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from lib.access import Access
from lib.login import LoginServer
from lib.sessions import Sessions
from monai_dgm.errors import InputError
from monai_dgm.labelling.reading.plan import ReadingPlan
from monai_dgm.labelling.reading.reservations import Reservations
from monai_dgm.labelling.server.audit_log import AuditLog
from monai_dgm.labelling.server.models import LabellingModels
from monai_dgm.labelling.server.ohif_files import OHIFFiles
from monai_dgm.labelling.server.request_options import describe_errors
from monai_dgm.labelling.server.studies import Studies, StudyFolder
from monai_dgm.labelling.server.submissions import Submissions
from monai_dgm.labelling.training.detector_training import DetectorTraining
from monai_dgm.utils.bundle_files import BUNDLES, bundles_folder

logger = logging.getLogger(__name__)

APP_DIR = Path(__file__).resolve().parent.parent
OWN_BUNDLES = bundles_folder()
LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
DETECTOR_TRAINING = Path("opacity_detection") / "configs" / "train.json"


class Settings(BaseSettings):
    """Settings of the app.

    Attributes:
        studies: folder of radiographs, or address of a DICOMweb archive.
        decomposer, detector, classifier, lungs: weights to use instead of those in the bundle.
        bundles: folder of the bundles.
        device: on which the models run, as torch names it.
        runtime: of the networks: "auto" (the fastest that is installed), or one of monai_dgm.engines.runtimes.
        state_dir: folder for labels, scores and versions; see :func:`state_folder`.
        seed: of trainings and of the random strategy.
        ohif_dir: folder ``dist`` of npm's @ohif/app.
        replay: folder of original data to train on together with corrections.
        cache_dir: folder for instances from the archive; ``cache`` in ``state_dir`` by default.
        cache_gigabytes: size of that folder in 1e9 bytes.
        poll_seconds: time between two looks at the archive.
        readers_per_case: how many readers each case needs; with 2 or more, readers do not see each other's labels.
        reservation_minutes: how long a case that a reader has open is not offered to others, after the reader's last
            action.
        send_results: whether results are stored in the archive.
        public_url: address of the server for browsers, where a proxy is before it: https://labels.example.org
        auth_audience: value that the audience of a token must hold; MONAI_LABEL_AUTH_CLIENT_ID by default.
        modalities, since, body_part, query: which radiographs of the archive are meant, see :meth:`WantedImages.of`.
    """

    model_config = SettingsConfigDict(env_prefix="MONAI_DGM_", env_ignore_empty=True, extra="forbid", frozen=True)

    studies: str
    decomposer: Path | None = None
    detector: Path | None = None
    classifier: Path | None = None
    lungs: Path | None = None
    bundles: Path = OWN_BUNDLES
    device: str = "cpu"
    runtime: str = "auto"
    state_dir: Path = Path()
    seed: int = Field(0, ge=0, lt=2**63)
    ohif_dir: Path = APP_DIR / ".ohif" / "dist"
    replay: Path | None = None
    cache_dir: Path | None = None
    cache_gigabytes: float = Field(2.0, gt=0, lt=1e6)
    poll_seconds: float = Field(5.0, gt=0, lt=1e6)
    readers_per_case: int = Field(1, ge=1, le=10)
    reservation_minutes: float = Field(30.0, gt=0, lt=1e5)
    send_results: bool = True
    public_url: Annotated[str, Field(pattern=r"^(https?://[A-Za-z0-9.:_\[\]-]+)?$")] = ""
    auth_audience: str = ""
    modalities: str = ""
    since: str = ""
    body_part: str = ""
    query: str = ""

    @classmethod
    def of(cls, studies: str, conf: dict[str, str]) -> Settings:
        """Settings from the command line and the environment.

        Args:
            studies: of the server.
            conf: of the command line; empty values count as not given.

        Raises:
            InputError: an unknown setting, or a value that cannot be used.
        """
        given = {"state_dir": state_folder(studies)} if not os.environ.get("MONAI_DGM_STATE_DIR") else {}
        given |= {name: value for name, value in conf.items() if value}
        known = set(cls.model_fields) - {"studies"}
        if given.keys() - known:
            raise InputError(f"--conf: expected the settings {', '.join(sorted(known))}, got another")
        try:
            return cls(**{**given, "studies": studies})
        except ValidationError as error:
            raise InputError(describe_errors(error.errors())) from None

    def open_studies(self) -> Studies:
        """The radiographs that ``studies`` names; the state folder is made, if it is missing, for this user alone.

        Raises:
            InputError: an address that cannot be used, or dicomweb-client is not installed.
        """
        if not is_archive(self.studies):
            folder = StudyFolder(self.studies)
            self._make_state_dir()
            return folder
        from monai_dgm.labelling.archive.archive_client import ArchiveClient
        from monai_dgm.labelling.archive.archive_studies import StudyArchive
        from monai_dgm.labelling.archive.instance_cache import DicomCache
        from monai_dgm.labelling.archive.wanted_images import WantedImages

        user, password = monai_label.MONAI_LABEL_DICOMWEB_USERNAME, monai_label.MONAI_LABEL_DICOMWEB_PASSWORD
        client = ArchiveClient(self.studies, (user, password or "") if user else None)
        self._make_state_dir()
        logger.info("studies of an archive; labels and scores are in %s", self.state_dir)
        cache = DicomCache(self.cache_dir or self.state_dir / "cache", int(self.cache_gigabytes * 1e9))
        wanted = WantedImages.of(self.modalities, self.since, self.body_part, self.query)
        return StudyArchive(client, cache, wanted=wanted)

    def _make_state_dir(self) -> None:
        # ids in it may identify patients, and trainings keep pixels
        self.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)

    def make_models(self) -> LabellingModels:
        """The models that have weights."""
        paths = {name: str(path) for name in BUNDLES if (path := getattr(self, name)) is not None}
        return LabellingModels(str(self.bundles), paths, self.device, self.runtime)

    def make_access(self) -> Access:
        """The check of requests: by login, if `MONAI_LABEL_AUTH_ENABLE` is set.

        Raises:
            InputError: the login server's address is not safe, or the audit log cannot be used.
        """
        audit = AuditLog(self.state_dir / "audit")
        if not monai_label.MONAI_LABEL_AUTH_ENABLE:
            return Access(None, None, audit)
        client = monai_label.MONAI_LABEL_AUTH_CLIENT_ID
        server = LoginServer(monai_label.MONAI_LABEL_AUTH_REALM_URI, client, self.auth_audience or client)
        return Access(server, Sessions(server), audit)

    @property
    def hosts(self) -> list[str]:
        """Names by which the server may be called: another one that leads here is DNS rebinding."""
        own = urlsplit(self.public_url).hostname
        if own is None and monai_label.MONAI_LABEL_AUTH_ENABLE:
            return ["*"]
        return [*LOCAL_HOSTS, *([own] if own else [])]

    def make_reading_plan(self, submissions: Submissions) -> ReadingPlan:
        """Who has to read what."""
        reservations = Reservations(self.state_dir / "reservations.sqlite", self.reservation_minutes)
        return ReadingPlan(submissions, reservations, self.readers_per_case)

    def make_viewer(self, access: Access) -> OHIFFiles:
        """Files of OHIF, which `make ohif` fetches, with the extension of this app."""
        server = access.server
        login = None if server is None else {"authority": server.realm, "client_id": server.client}
        return OHIFFiles(self.ohif_dir, APP_DIR / "ohif", login=login)

    def make_training(self, app: Any) -> DetectorTraining:
        """Training of the detector, by the configuration in ``bundles`` if it has one, else by the repository's."""
        config = self.bundles / DETECTOR_TRAINING
        return DetectorTraining(
            self.state_dir,
            app.analysis.models,
            app.analysis.studies,
            app.submissions,
            config if config.is_file() else OWN_BUNDLES / DETECTOR_TRAINING,
            self.replay,
            self.seed,
            app.selection.start,
        )

    def make_watcher(self, app: Any) -> Any:
        """The watcher of the archive; None for studies of a folder."""
        if not is_archive(self.studies):
            return None
        from monai_dgm.labelling.archive.archive_state import ArchiveState
        from monai_dgm.labelling.archive.archive_watcher import ArchiveWatcher
        from monai_dgm.labelling.archive.reports import ArchiveReports
        from monai_dgm.labelling.archive.sent_results import ArchiveResults

        studies, state = app.analysis.studies, ArchiveState(self.state_dir / "archive.sqlite")
        results = ArchiveResults(app.analysis, studies, app.submissions, state)
        reports = ArchiveReports(studies, app.submissions, state, by_login=app.access.server is not None)
        selection = app.selection
        return ArchiveWatcher(
            results, reports, self.poll_seconds, self.send_results, selection.start, selection.scores.forget
        )


def is_archive(studies: str) -> bool:
    """Whether ``studies`` is the address of an archive, not a folder."""
    return studies.startswith(("http://", "https://"))


def state_folder(studies: str) -> Path:
    """Folder for labels and scores: ``.monai_dgm`` in a folder of studies; for an archive, one in the user's data."""
    if not is_archive(studies):
        return Path(studies) / ".monai_dgm"
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return home / "monai-dgm" / hashlib.sha256(studies.rstrip("/").encode()).hexdigest()[:12]
