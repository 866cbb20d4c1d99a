"""MONAI Label app: decomposition and opacity boxes of chest radiographs, read from the original files.

python -m monailabel.main start_server --app apps/radiology_dgm --studies <folder or DICOMweb address> --host 127.0.0.1

Settings are given as ``--conf NAME VALUE`` or as environment variables MONAI_DGM_NAME; they are listed in
:class:`lib.settings.Settings`.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from lib import server
from lib.datastore import StudyDatastore
from lib.settings import Settings
from lib.tasks import make_infers, make_strategies, make_trainers
from monailabel.interfaces.app import MONAILabelApp

from monai_dgm import __version__
from monai_dgm.errors import InputError
from monai_dgm.labelling.active_learning.score_store import ScoreStore
from monai_dgm.labelling.labels.image_label import OPACITY, LabelledBox
from monai_dgm.labelling.reading.case import Cases
from monai_dgm.labelling.reading.queue import ReadingQueue
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.analysis_results import Answer
from monai_dgm.labelling.server.background import Batches
from monai_dgm.labelling.server.examinations import Examinations
from monai_dgm.labelling.server.folder_dicomweb import FolderDicomWeb
from monai_dgm.labelling.server.request_options import checked_image_id, known_name
from monai_dgm.labelling.server.selection import ImageSelection
from monai_dgm.labelling.server.studies import StudyFolder
from monai_dgm.labelling.server.submissions import MODEL_READER, Submissions
from monai_dgm.utils.bundle_files import BUNDLES

logger = logging.getLogger(__name__)


class RadiologyDGM(MONAILabelApp):
    """The app. MONAI Label finds this class and makes it once.

    Args:
        app_dir: this folder.
        studies: folder of radiographs, or address of a DICOMweb archive.
        conf: settings of the command line.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        try:
            server.check_one_process()
            server.check_address()
            server.check_studies(studies)
            self.settings = Settings.of(studies, conf or {})
            self.analysis = RadiographAnalysis(self.settings.open_studies(), self.settings.make_models())
            self.submissions = Submissions(self.settings.state_dir)
            self.selection = ImageSelection(self.analysis, ScoreStore(self.settings.state_dir / "scores.sqlite"))
            self.cases = Cases(self.analysis, self.submissions, self.selection)
            self.plan = self.settings.make_reading_plan(self.submissions)
            self.queue = ReadingQueue(self.selection, self.plan, self.settings.seed)
            self.batches = Batches()
            self.access = self.settings.make_access()
            self.hosts = self.settings.hosts
            self.watcher = self.settings.make_watcher(self)
            self.folder = None if self.watcher else FolderDicomWeb(self.analysis, Examinations(studies))
            self.training = self.settings.make_training(self)
            self.viewer = self.settings.make_viewer(self.access)
            self._log_models()
        except (InputError, OSError) as error:
            server.refuse_to_start(error)
            raise
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="monai-dgm radiographs",
            description="Opacities in chest radiographs: boxes, residue and normal image. Not for diagnosis.",
            version=__version__,
            labels=[OPACITY],
        )
        self._auto_update_scoring = False  # the selection keeps its scores up to date itself
        self._sessions = None  # images are added to the studies, not to sessions
        server.install(self)

    @property
    def models(self) -> Mapping[str, Any]:
        """The models by name."""
        return self._infers

    @property
    def strategies(self) -> Mapping[str, Any]:
        """The strategies of active learning by name."""
        return self._strategies

    @property
    def trainers(self) -> Mapping[str, Any]:
        """The trainings by the name of their model."""
        return self._trainers

    def _log_models(self) -> None:
        for name, bundle in BUNDLES.items():
            if self.analysis.models.has(name):
                logger.info("%s: of bundles/%s, %s", name, bundle, self.analysis.models.versions()[name])
            else:
                logger.warning("%s", self.analysis.models.advice(name))
        if self.submissions.damaged:
            logger.warning("%d label files are damaged and left out", len(self.submissions.damaged))

    def init_datastore(self) -> StudyDatastore:
        """The studies as MONAI Label lists them."""
        return StudyDatastore(self.analysis, self.submissions, self.plan.blinded)

    def init_infers(self) -> dict[str, Any]:
        """The inference tasks."""
        return make_infers(self.analysis)

    def init_trainers(self) -> dict[str, Any]:
        """The training tasks."""
        return make_trainers(self.training)

    def init_strategies(self) -> dict[str, Any]:
        """The strategies of active learning."""
        return make_strategies(self.selection, self.submissions, self.settings.seed)

    def answer(self, request: Mapping[str, Any], reader: str = MODEL_READER) -> Answer:
        """Run a model on an image of the studies.

        Args:
            request: "model", "image" (an id, never a path) and the model's options.
            reader: who sees the boxes.

        Raises:
            UnknownError: there is no such model or image.
            InputError: options that are wrong, or an image that cannot be used.
        """
        name = known_name(request.get("model"), self.models, "a model")
        image_id = self.analysis.studies.find(checked_image_id(request.get("image"))).image_id
        answer = self.models[name].run(image_id, request)
        if name == "detect_opacities":
            boxes = tuple(LabelledBox.from_dict(values) for values in answer.params["boxes"])
            placement, version = self.analysis.placement(image_id), answer.params["model_version"]
            self.submissions.remember(boxes, image_id, placement, reader, version)
        return answer

    def answer_upload(self, request: Mapping[str, Any], content: bytes, suffix: str) -> Answer:
        """Run a model on a radiograph that is not one of the studies; nothing of it is kept.

        Args:
            request: as of :meth:`answer`, without "image".
            content: of the file.
            suffix: of the file.

        Raises:
            UnknownError, InputError: as :meth:`answer`, and content that is not a radiograph.
        """
        name = known_name(request.get("model"), self.models, "a model")
        with tempfile.TemporaryDirectory(prefix="monai-dgm-upload-") as folder:
            studies = StudyFolder(folder)
            studies.add("upload", content, suffix)
            return make_infers(self.analysis.beside(studies))[name].run("upload", request)

    def images_of_study(self, study: str) -> list[str]:
        """The radiographs of a study of the archive; in a folder, a radiograph is its own study.

        Raises:
            UnknownError: there is none.
        """
        if self.watcher is None:
            return [self.analysis.studies.find(study).image_id]
        return [item.uids.instance for item in self.analysis.studies.in_study(study)]

    def forget_results(self, images: Sequence[str]) -> dict[str, int]:
        """Delete the models' results of images; returns numbers of files and objects.

        Raises:
            ArchiveAwayError: the archive does not answer.
        """
        sent = {} if self.watcher is None else self.watcher.results.delete(images)
        boxes = sum(self.submissions.forget(name) for name in images)
        self.selection.scores.forget(images)
        self.analysis.forget()
        return {"model_boxes": boxes, **sent}

    def infer(self, request: Mapping[str, Any], datastore: Any = None) -> dict[str, Any]:
        """MONAI Label's way to call :meth:`answer`: values only; the routes add files."""
        return {"label": None, "tag": "", "file": None, "params": self.answer(request).params}

    def on_init_complete(self) -> None:
        """Start to score images for active learning, and to watch the archive if there is one."""
        if self.watcher is not None:  # it lists the archive in the background, and then tells the selection
            self.watcher.start()
            return
        logger.info(
            "%d radiographs, %d files left out", len(self.datastore().list_images()), self.analysis.studies.left_out
        )
        self.selection.start()

    def on_save_label(self, image_id: str, label_id: str) -> None:
        """Do nothing: MONAI Label would log the image id, which may identify a patient."""


if __name__ == "__main__":
    sys.exit("MONAI Label loads this file; start it with: python apps/radiology_dgm/start.py --studies FOLDER")
