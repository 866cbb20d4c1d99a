from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import make_boxes
from monai_dgm.labelling.labels.markups import boxes_to_markups
from monai_dgm.labelling.server.submissions import MODEL_READER, Submissions
from monai_dgm.transforms.placement import Placement

PLACEMENT = Placement.from_spacing(100, 200, (0.5, 0.5))
BOXES = make_boxes([[10, 20, 60, 70]], ["lung_opacity"], [0.75])
EMPTY = '{"markups": []}'


def markups(boxes: object = BOXES) -> str:
    return json.dumps(boxes_to_markups(boxes, PLACEMENT))


def test_a_label_knows_the_boxes_it_started_from(tmp_path: Path) -> None:
    submissions = Submissions(tmp_path)
    submissions.remember(BOXES, "image", PLACEMENT, "one", "detector-1")
    kept = submissions.submit(EMPTY, "image", PLACEMENT, "one")
    assert (kept.label.status, kept.number) == ("no_finding", 1)
    assert kept.label.model_boxes == BOXES and kept.label.model_version == "detector-1"
    other = submissions.submit(markups(), "image", PLACEMENT, "two")
    assert other.label.model_boxes is None and other.label.boxes[0].score == 0.75
    submissions.remember(BOXES, "image", PLACEMENT, MODEL_READER, "detector-2")
    assert submissions.submit(EMPTY, "image", PLACEMENT, "two").label.model_version == "detector-2"


def test_no_reader_writes_over_another_and_none_over_an_older_label(tmp_path: Path) -> None:
    submissions = Submissions(tmp_path)
    for reader, document in (("one", markups()), ("two", EMPTY), ("one", EMPTY)):
        submissions.submit(document, "image", PLACEMENT, reader)
    assert [label.status for label in submissions.labels.history("image", "one")] == ["boxes", "no_finding"]
    assert {label.reader for label in submissions.of_image("image")} == {"one", "two"}
    again = Submissions(tmp_path)
    assert again.labelled() == {"image"} and again.of_image("image") == submissions.of_image("image")
    assert len(again.of_image("image")) == 2


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[]",
        "{}",
        '{"markups": 3}',
        '{"markups": [1]}',
        '{"markups": [{"type": "ROI", "center": [1e99, 0, 0], "size": [1, 1, 1]}]}',
        '{"markups": [{"type": "Fiducial", "controlPoints": []}]}',
        '{"markups": [{"type": "ROI", "size": [1, 1]}]}',
        b"\xff\xfe",
        "[" * 10_000,
        '{"markups": ' + json.dumps([{}] * 501) + "}",
    ],
)
def test_what_is_not_understood_is_not_stored(tmp_path: Path, document: str | bytes) -> None:
    submissions = Submissions(tmp_path)
    with pytest.raises(InputError) as caught:
        submissions.submit(document, "image", PLACEMENT, "one")
    assert "\n" not in str(caught.value)
    assert not submissions.labelled() and not list((tmp_path / "labels").rglob("*.json"))


def test_one_bad_box_keeps_the_others_from_being_all_there_is(tmp_path: Path) -> None:
    document = boxes_to_markups(BOXES, PLACEMENT)
    document["markups"].append({**document["markups"][0], "center": [-500, 0, 0]})
    with pytest.raises(InputError, match="nothing was stored"):
        Submissions(tmp_path).submit(json.dumps(document), "image", PLACEMENT, "one")


def test_the_latest_label_is_given_back_as_markups(tmp_path: Path) -> None:
    submissions = Submissions(tmp_path)
    assert submissions.markups("image", PLACEMENT) is None
    submissions.submit(EMPTY, "image", PLACEMENT, "two")
    submissions.submit(markups(), "image", PLACEMENT, "one")
    assert json.loads(submissions.markups("image", PLACEMENT) or b"")["markups"][0]["size"] == [25.0, 25.0, 1.0]
    assert submissions.markups("image", Placement.from_spacing(50, 50)) is None


def test_a_damaged_label_does_not_keep_the_server_from_starting(tmp_path: Path) -> None:
    submissions = Submissions(tmp_path)
    submissions.submit(EMPTY, "good", PLACEMENT, "one")
    submissions.submit(EMPTY, "bad", PLACEMENT, "one")
    path = next(p for p in (tmp_path / "labels").rglob("*.json") if '"bad"' in p.read_text())
    path.write_text("{")
    again = Submissions(tmp_path)
    assert again.labelled() == {"good"} and len(again.damaged) == 1
