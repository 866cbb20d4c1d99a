from __future__ import annotations

from pathlib import Path

import pytest

from monai_dgm.labelling.active_learning.score_store import ScoreStore
from monai_dgm.labelling.active_learning.strategies import STRATEGIES
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.http_errors import UnknownError
from monai_dgm.labelling.server.models import LabellingModels
from monai_dgm.labelling.server.selection import ImageSelection
from monai_dgm.labelling.server.studies import StudyFolder


@pytest.fixture
def selection(analysis: RadiographAnalysis, tmp_path: Path) -> ImageSelection:
    return ImageSelection(analysis, ScoreStore(tmp_path / "scores.sqlite"))


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
