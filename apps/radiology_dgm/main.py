"""MONAI Label app: decomposition and opacity boxes of chest radiographs, read from the original files.

python -m monailabel.main start_server --app apps/radiology_dgm --studies <folder or DICOMweb address>

Settings, as ``--conf NAME VALUE`` or as environment variables MONAI_DGM_NAME: ``decomposer``, ``detector``,
``classifier``, ``lungs`` (weights in the place of a bundle's), ``bundles`` (folder), ``device``, ``state_dir``
(labels and scores; ``.monai_dgm`` in the studies by default), ``seed``, ``ohif_dir`` (``dist`` of npm's @ohif/app).
``replay``: folder of original data that are trained on beside corrections.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib import server
from lib.archive import make_watch, open_studies, state_folder
from lib.datastore import StudyDatastore
from lib.infers import make_infers
from lib.strategies import make_strategies
from lib.trainers import make_trainers
from monailabel.interfaces.app import MONAILabelApp

from monai_dgm import __version__
from monai_dgm.errors import InputError
from monai_dgm.labelling.active_learning.score_store import ScoreStore
from monai_dgm.labelling.labels.image_label import OPACITY, LabelledBox
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.analysis_results import Answer
from monai_dgm.labelling.server.background import Batches
from monai_dgm.labelling.server.http_errors import ArchiveAwayError
from monai_dgm.labelling.server.models import BUNDLES, LabellingModels
from monai_dgm.labelling.server.ohif_files import ViewerFiles
from monai_dgm.labelling.server.requests import checked_image_id, known_name
from monai_dgm.labelling.server.selection import ImageSelection
from monai_dgm.labelling.server.submissions import MODEL_READER, Submissions
from monai_dgm.labelling.training.detector_training import DetectorTraining

logger = logging.getLogger(__name__)


class RadiologyDGM(MONAILabelApp):
    """See the module.

    Args:
        app_dir: this folder.
        studies: folder of radiographs, or address of a DICOMweb archive.
        conf: settings.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        try:
            server.check_address()
            self.settings = Settings(app_dir, studies, conf or {})
            self.analysis = RadiographAnalysis(open_studies(self.settings), self.settings.models())
            self.submissions = Submissions(self.settings.state_dir)
            self.selection = ImageSelection(self.analysis, ScoreStore(self.settings.state_dir / "scores.sqlite"))
            self.batches = Batches()
            self.watch = make_watch(self)
            self.training = self.settings.training(self)
            self.viewer = self.settings.viewer()
            self._announce()
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

    def _announce(self) -> None:
        for name, bundle in BUNDLES.items():
            if self.analysis.models.has(name):
                logger.info("%s: of bundles/%s, %s", name, bundle, self.analysis.models.versions()[name])
            else:
                logger.warning("%s", self.analysis.models.advice(name))
        if self.submissions.damaged:
            logger.warning("%d label files are damaged and left out", len(self.submissions.damaged))

    def init_datastore(self) -> StudyDatastore:
        """The studies as the platform lists them."""
        return StudyDatastore(self.analysis, self.submissions)

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
            reader: who is shown the boxes.

        Raises:
            UnknownError: a model or an image that there is not.
            InputError: options that are wrong, or an image that cannot be used.
        """
        name = known_name(request.get("model"), self._infers, "a model")
        image_id = self.analysis.studies.find(checked_image_id(request.get("image"))).image_id
        answer = self._infers[name].answer(image_id, request)
        if name == "detect_opacities":
            boxes = tuple(LabelledBox.from_dict(values) for values in answer.params["boxes"])
            placement, version = self.analysis.placement(image_id), answer.params["model_version"]
            self.submissions.remember(boxes, image_id, placement, reader, version)
        return answer

    def infer(self, request: Mapping[str, Any], datastore: Any = None) -> dict[str, Any]:
        """The platform's way to call :meth:`answer`: figures alone; files are given by `lib.routes`."""
        return {"label": None, "tag": "", "file": None, "params": self.answer(request).params}

    def on_init_complete(self) -> None:
        """Begin to score images for the choice of the next one, and to watch the archive where there is one."""
        try:
            count, left_out = len(self.datastore().list_images()), self.analysis.studies.left_out
            logger.info("%d radiographs, %d files left out", count, left_out)
        except ArchiveAwayError as error:
            logger.warning("%s", error)
        self.selection.start()
        if self.watch is not None:
            self.watch.start()

    def on_save_label(self, image_id: str, label_id: str) -> None:
        """Nothing is logged of it: an id may tell a patient."""


class Settings:
    """Settings of the app.

    Args:
        app_dir: of the app.
        studies: of the server.
        conf: from the command line; an environment variable serves where it says nothing.

    Raises:
        InputError: a seed that is none.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.studies = studies
        self.app_dir = Path(app_dir)
        self.conf = conf
        seed = self.get("seed", "0")
        if not seed.isdigit():
            raise InputError("seed: expected a whole number")
        self.seed = int(seed)
        self.state_dir = Path(self.get("state_dir", str(state_folder(studies))))

    def get(self, name: str, default: str = "") -> str:
        """One setting."""
        return str(self.conf.get(name) or os.environ.get(f"MONAI_DGM_{name.upper()}") or default)

    def viewer(self) -> ViewerFiles:
        """OHIF, which `make ohif` puts below this folder, and our extension."""
        return ViewerFiles(self.get("ohif_dir", str(self.app_dir / ".ohif" / "dist")), self.app_dir / "ohif")

    def models(self) -> LabellingModels:
        """The models, as far as there are weights."""
        paths = {name: self.get(name) for name in BUNDLES if self.get(name)}
        return LabellingModels(self.get("bundles", str(self._own_bundles())), paths, self.get("device", "cpu"))

    def training(self, app: RadiologyDGM) -> DetectorTraining:
        """Training of the detector, by the configuration in the folder of bundles, else by the repository's own."""
        place = Path("opacity_detection") / "configs" / "train.json"
        config = Path(self.get("bundles", ".")) / place
        return DetectorTraining(
            self.state_dir,
            app.analysis.models,
            app.analysis.studies,
            app.submissions,
            config if self.get("bundles") and config.is_file() else self._own_bundles() / place,
            Path(self.get("replay")) if self.get("replay") else None,
            self.seed,
            app.selection.start,
        )

    def _own_bundles(self) -> Path:
        return self.app_dir.resolve().parent.parent / "bundles"


if __name__ == "__main__":
    sys.exit("start it with: python -m monailabel.main start_server --app apps/radiology_dgm --studies FOLDER")
