from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from monai_dgm.engines.files import describe_model
from monai_dgm.engines.weights import save_weights
from monai_dgm.labelling.active_learning.score_store import ScoreStore
from monai_dgm.labelling.active_learning.strategies import STRATEGIES
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.http_errors import UnknownError
from monai_dgm.labelling.server.models import LabellingModels
from monai_dgm.labelling.server.selection import ImageSelection
from monai_dgm.labelling.server.studies import StudyFolder
from monai_dgm.networks.detector import OpacityDetector


@pytest.fixture
def selection(analysis: RadiographAnalysis, tmp_path: Path) -> ImageSelection:
    return ImageSelection(analysis, ScoreStore(tmp_path / "scores.sqlite"))


@pytest.fixture
def residue_detector(bundles: Path, tmp_path: Path) -> Path:
    """Weights of a small detector on images and residues, at another side than the decomposer's."""
    path = tmp_path / "model.pt"
    torch.manual_seed(0)
    save_weights(OpacityDetector(2, "resnet18", 96, 0.125, 16).state_dict(), path)
    settings = {"image_size": 96, "backbone": "resnet18", "width": 0.125, "fpn_channels": 16}
    digest = describe_model(bundles / "dgm" / "models" / "model.pt")["sha256"]
    settings |= {"channels": ["image", "residue"], "decomposer_sha256": digest}
    path.with_suffix(".json").write_text(json.dumps(settings), encoding="utf-8")
    return path


def test_only_what_is_new_is_scored(
    selection: ImageSelection, folder: Path, bundles: Path, detector_weights: Path
) -> None:
    assert selection.update() == 3 and selection.update() == 0
    (folder / "d.png").write_bytes((folder / "a.png").read_bytes())
    selection.analysis.studies.refresh()
    assert selection.update() == 1
    models = LabellingModels(bundles, {"detector": detector_weights})
    other = ImageSelection(RadiographAnalysis(selection.analysis.studies, models), selection.scores)
    assert other.update(limit=2) == 2 and other.update() == 2  # a new model scores all of them again
    scores = other.scores.get("a")
    assert scores is not None and scores.disagreement is not None and scores.features is not None


def test_each_model_runs_once_for_the_scores_of_an_image(
    analysis: RadiographAnalysis, residue_detector: Path, tmp_path: Path
) -> None:
    """Scores need probability, saliency boxes, detector boxes on the residue, and features: one pass of E_F.

    The uncertainty of the residue needs a pass of the mirror image besides.
    """
    models = analysis.models
    models.replace("detector", residue_detector)
    calls = {"encoder": 0, "detector": 0}

    def count(name: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            calls[name] += 1

        return hook

    decomposer, detector = models.decomposer().model, models.detector()
    assert detector is not None and detector.model.needs_residue
    decomposer.residue_encoder.register_forward_hook(count("encoder"))  # type: ignore[union-attr]
    detector.model.network.network.feature_extractor.register_forward_hook(count("detector"))
    scores = ImageSelection(analysis, ScoreStore(tmp_path / "scores.sqlite")).score("a")
    assert scores.features is not None and scores.disagreement is not None and scores.uncertainty is not None
    assert calls == {"encoder": 2, "detector": 1} and scores.residue_uncertainty is not None
    for threshold in ("li", 0.1, "otsu"):
        analysis.decomposition("a", threshold)
    assert calls == {"encoder": 2, "detector": 1} and scores.residue_uncertainty is not None


def test_every_strategy_gives_an_image_that_has_no_label(selection: ImageSelection) -> None:
    for strategy in STRATEGIES:
        assert selection.next_image(strategy, {"a", "b"}) == "sub__c"
        assert selection.next_image(strategy, {"a", "b", "sub__c"}) is None
        assert selection.next_image(strategy, set()) == selection.next_image(strategy, set())
    with pytest.raises(UnknownError):
        selection.next_image("best", set())


def test_the_least_sure_image_comes_first(selection: ImageSelection) -> None:
    selection.update()
    known = {item.image_id: item.uncertainty or 0.0 for item in selection.scores.all()}
    assert selection.next_image("uncertainty", set()) == max(sorted(known), key=lambda name: known[name])


def test_a_file_that_cannot_be_read_comes_last(selection: ImageSelection, folder: Path) -> None:
    (folder / "0.png").write_bytes(b"no picture")
    selection.analysis.studies.refresh()
    assert selection.update() == 4 and selection.update() == 0
    assert selection.next_image("uncertainty", {"a", "b"}) == "sub__c"
    assert selection.next_image("combined", {"a", "b", "sub__c"}) == "0"


def test_without_models_there_is_still_a_choice(folder: Path, tmp_path: Path) -> None:
    analysis = RadiographAnalysis(StudyFolder(folder), LabellingModels(tmp_path))
    selection = ImageSelection(analysis, ScoreStore(tmp_path / "scores.sqlite"))
    assert all(selection.next_image(name, {"a"}) in ("b", "sub__c") for name in STRATEGIES)
    selection.stop()


def test_the_residue_that_depends_most_on_the_side_comes_first(selection: ImageSelection) -> None:
    selection.update()
    known = {item.image_id: item.residue_uncertainty or 0.0 for item in selection.scores.all()}
    assert len(set(known.values())) == 3 and min(known.values()) > 0
    assert selection.next_image("residue_uncertainty", set()) == max(known, key=lambda name: known[name])
