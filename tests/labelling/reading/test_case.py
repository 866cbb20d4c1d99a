"""A radiograph as a reader opens it: which boxes are shown, which are withheld, and what is stored of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monai_dgm.engines.lungs.image_check import ChestCheck
from monai_dgm.labelling.active_learning.score_store import ScoreStore
from monai_dgm.labelling.labels.image_label import ImageLabel, LabelledBox
from monai_dgm.labelling.labels.markups import markups_to_boxes
from monai_dgm.labelling.reading.case import Cases
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.analysis_results import detect
from monai_dgm.labelling.server.selection import ImageSelection
from monai_dgm.labelling.server.submissions import Submissions

REMARK = "this does not look like a frontal chest: no lungs were found"


@pytest.fixture
def cases(analysis: RadiographAnalysis, tmp_path: Path) -> Cases:
    submissions = Submissions(tmp_path / "state")
    return Cases(analysis, submissions, ImageSelection(analysis, ScoreStore(tmp_path / "scores.sqlite")))


@pytest.fixture
def refused(analysis: RadiographAnalysis, monkeypatch: pytest.MonkeyPatch) -> str:
    """An image that the chest check refuses."""
    examine = analysis.examine

    def checked(image_id: str, uncertainty: bool = False) -> Any:
        found = examine(image_id, uncertainty)
        if image_id != "a":
            return found
        return replace(found, result=replace(found.result, chest_check=ChestCheck(False, 9.0, (REMARK,))))

    monkeypatch.setattr(analysis, "examine", checked)
    return "a"


def stored(cases: Cases) -> list[Any]:
    return [json.loads(file.read_text()) for file in sorted(cases.submissions.predictions.folder.rglob("*.json"))]


def test_boxes_of_what_is_no_chest_are_shown_only_on_request(cases: Cases, refused: str) -> None:
    shown = cases.show(refused, "one")
    assert shown.boxes == () and shown.withheld > 0 and shown.remark == REMARK
    assert stored(cases)[0]["boxes"] == []  # the reader saw none
    asked = cases.show(refused, "one", despite_remark=True)
    assert len(asked.boxes) == shown.withheld and asked.withheld == 0 and asked.remark == REMARK
    assert cases.model_boxes(refused, "one").boxes == ()  # not even those that were shown once
    assert cases.numbers(refused)["remarks"] == [REMARK]


def test_a_note_on_how_an_image_is_read_withholds_nothing(
    analysis: RadiographAnalysis, cases: Cases, monkeypatch: pytest.MonkeyPatch
) -> None:
    examine, note = analysis.examine, "EXIF Orientation 6: turned by 90 degrees clockwise"
    noted = ChestCheck(True, 0.5, (note,), (note,))

    def examined(image_id: str, uncertainty: bool = False) -> Any:
        found = examine(image_id, uncertainty)
        return replace(found, result=replace(found.result, chest_check=noted))

    monkeypatch.setattr(analysis, "examine", examined)
    shown = cases.show("a", "one")
    assert shown.boxes and shown.withheld == 0 and shown.remark == ""
    answer = detect(analysis, "a", {"score_threshold": 0})
    assert answer.params["boxes"] and answer.params["remarks"] == []


def test_every_client_gets_the_remark(analysis: RadiographAnalysis, refused: str) -> None:
    answer = detect(analysis, refused, {"score_threshold": 0})
    assert answer.params["boxes"] == [] and answer.params["boxes_withheld"] > 0
    assert answer.params["remarks"] == [REMARK]
    (note,) = json.loads(answer.content)["markups"]  # what 3D Slicer shows in their place
    assert note["controlPoints"][0]["label"] == REMARK and note["display"]["pointLabelsVisibility"]
    assert markups_to_boxes(answer.content, analysis.placement(refused)).status == "no_finding"
    asked = detect(analysis, refused, {"score_threshold": 0, "despite_remarks": "true"})
    assert len(asked.params["boxes"]) == answer.params["boxes_withheld"]


def test_what_is_no_chest_is_not_the_next_case(cases: Cases, refused: str) -> None:
    cases.selection.update()
    assert cases.selection.remark(refused) == REMARK
    for strategy in ("combined", "suspicion", "random"):
        assert cases.selection.next_image(strategy, {"b"}) == "sub__c"
        assert cases.selection.next_image(strategy, {"b", "sub__c"}) is None


def test_looking_stores_nothing(cases: Cases) -> None:
    before = cases.model_boxes("a", "one")
    assert before.boxes and before.remark == "" and stored(cases) == []
    assert cases.show("a", "one") == before and len(stored(cases)) == 1
    earlier = replace(before, boxes=())
    cases.submissions.remember(earlier.boxes, "a", before.placement, "one", earlier.version)
    assert cases.model_boxes("a", "one") == earlier  # what the reader saw last
    assert cases.model_boxes("a", "one", fresh=True) == before == cases.model_boxes("a", "two")


def test_boxes_of_a_version_that_is_not_served_are_replaced(cases: Cases) -> None:
    before = cases.model_boxes("a", "one")
    cases.submissions.remember((), "a", before.placement, "one", "decomposer-older")
    assert before.boxes and cases.model_boxes("a", "one") == before


def test_a_readers_own_label_comes_back(cases: Cases) -> None:
    assert cases.own_label("b", "one") is None
    box = LabelledBox((10.0, 20.0, 40.0, 60.0), "lung_opacity")
    cases.submissions.keep(ImageLabel("b", (90, 120), "boxes", (box,), "one", "ohif"))
    cases.submissions.keep(ImageLabel("b", (90, 120), "no_finding", (), "two", "ohif"))
    own = cases.own_label("b", "one")
    assert own is not None and own["status"] == "boxes" and own["boxes"] == [box.as_dict()]
    other = cases.own_label("b", "two")
    assert other is not None and other["status"] == "no_finding" and cases.own_label("b", "three") is None
    cases.submissions.keep(ImageLabel("c", (9, 12), "no_finding", (), "one", "ohif"))
    assert cases.own_label("sub__c", "one") is None
