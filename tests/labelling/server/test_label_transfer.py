from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import ImageLabel, as_array, make_boxes
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.http_errors import TooLargeError, UnavailableError, UnknownError
from monai_dgm.labelling.server.label_transfer import MAX_IMPORT_BYTES, export_labels, keep_all, parse_labels, size_in
from monai_dgm.labelling.server.submissions import Submissions

IDS = ("a", "b", "sub__c")
SIZES = dict.fromkeys(IDS, (90, 120))


def size_of(image_id: str) -> tuple[int, int]:
    if image_id not in SIZES:
        raise UnknownError("image: there is none of that id")
    return SIZES[image_id]


def label(image_id: str, boxes: Any, reader: str, **more: Any) -> ImageLabel:
    found = make_boxes(np.asarray(boxes, dtype=np.float64).reshape(-1, 4), ["lung_opacity"] * len(boxes))
    status = "boxes" if found else "no_finding"
    return ImageLabel(image_id, more.get("size", (90, 120)), status, found, reader, "slicer")


@pytest.fixture
def submissions(tmp_path: Path) -> Submissions:
    """a: two readers agree; b: one says no finding; sub__c: one of three readers drew a box, one said no finding."""
    kept = Submissions(tmp_path / "state")
    kept.keep(label("a", [[10, 10, 30.5, 40]], "one"))
    kept.keep(label("a", [[12, 10, 32.5, 40]], "two"))
    kept.keep(label("b", [], "one"))
    return kept


def test_consensus_by_the_stated_rule(submissions: Submissions) -> None:
    found = json.loads(export_labels(submissions, "json").content)["labels"]
    assert [(one["image_id"], one["status"], one["reader"]) for one in found] == [
        ("a", "boxes", "consensus"),
        ("b", "no_finding", "consensus"),
    ]
    assert found[0]["boxes"][0]["box"] == [11, 10, 31.5, 40]
    assert export_labels(submissions, "json").content == export_labels(submissions, "json").content


def test_images_without_consensus_are_left_out_and_said(submissions: Submissions) -> None:
    for reader, boxes in (("one", [[1, 1, 9, 9]]), ("two", [[40, 40, 60, 60]]), ("three", [[70, 1, 90, 20]])):
        submissions.keep(label("sub__c", boxes, reader))  # each is one of three
    submissions.keep(label("b", [], "two", size=(10, 10)))  # of an image that was replaced
    export = export_labels(submissions, "json")
    assert export.left_out == ("b", "sub__c") and export.images == 1
    assert json.loads(export.content)["left_out"] == ["b", "sub__c"]


@pytest.mark.parametrize("form", ["coco", "rsna"])
@pytest.mark.parametrize("readers", ["consensus", "one"])
def test_out_and_in_again(form: str, readers: str, submissions: Submissions, tmp_path: Path) -> None:
    export = export_labels(submissions, form, readers)
    assert (export.images, export.left_out) == (2, ())
    labels = parse_labels(export.content, form, " somebody ", size_of)
    expected = [one["boxes"] for one in json.loads(export_labels(submissions, "json", readers).content)["labels"]]
    for ours, boxes in zip(labels, expected, strict=True):
        np.testing.assert_allclose(as_array(ours.boxes), np.reshape([b["box"] for b in boxes], (-1, 4)), atol=1e-4)
    other = Submissions(tmp_path / "other")
    assert keep_all(labels, other).added == 2
    again = keep_all(parse_labels(export.content, form, "somebody", size_of), other)
    assert (again.images, again.added, again.unchanged) == (2, 0, 2)
    assert len(list((tmp_path / "other" / "labels").rglob("*.json"))) == 2
    assert {(one.reader, one.source) for one in labels} == {("somebody", "import")}


def test_readers_own_labels(submissions: Submissions) -> None:
    everyone = json.loads(export_labels(submissions, "json", "all").content)["labels"]
    assert [(one["image_id"], one["reader"]) for one in everyone] == [("a", "one"), ("a", "two"), ("b", "one")]
    assert len(json.loads(export_labels(submissions, "coco", "one").content)["images"]) == 2
    with pytest.raises(UnknownError, match="a reader who has labels"):
        export_labels(submissions, "json", "nobody")
    with pytest.raises(InputError, match="several of one"):
        export_labels(submissions, "rsna", "all")


def test_nothing_labelled_is_an_empty_export(tmp_path: Path) -> None:
    empty = Submissions(tmp_path)
    assert json.loads(export_labels(empty, "coco").content)["images"] == []
    assert export_labels(empty, "rsna", "all").content.decode().splitlines() == ["patientId,x,y,width,height,Target"]


def test_no_path_and_no_reader_is_in_the_formats_of_others(submissions: Submissions, tmp_path: Path) -> None:
    for form in ("coco", "rsna"):
        content = export_labels(submissions, form).content.decode()
        assert str(tmp_path) not in content and "one" not in content


def coco(**more: Any) -> dict[str, Any]:
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40]}
    images = [{"id": 1, "file_name": "a.png", "width": 120, "height": 90}]
    return {"images": images, "annotations": [annotation], "categories": [{"id": 1, "name": "Lung Opacity"}], **more}


def image(**more: Any) -> list[dict[str, Any]]:
    return [{**coco()["images"][0], **more}]


def boxed(bbox: Any) -> dict[str, Any]:
    return coco(annotations=[{**coco()["annotations"][0], "bbox": bbox}])


HEADER = b"patientId,x,y,width,height,Target\n"
WRONG: list[tuple[Any, str, type[InputError]]] = [
    (coco(images=image(file_name="../../etc/passwd"), annotations=[]), "coco", UnknownError),
    (coco(images=image(width=121)), "coco", InputError),
    (coco(images=[], annotations=[]), "coco", InputError),
    (boxed([1, 2, 300, 40]), "coco", InputError),
    (boxed([1, 2, -3, 4]), "coco", InputError),
    (boxed([1, 2, float("nan"), 4]), "coco", InputError),
    (boxed("x"), "coco", InputError),
    (boxed([1, True, 3, 4]), "coco", InputError),
    ([], "coco", InputError),
    (b"x" * (MAX_IMPORT_BYTES + 1), "coco", TooLargeError),
    (b"x" * (MAX_IMPORT_BYTES + 1), "rsna", TooLargeError),
    (HEADER + b"a,1,2,3,4,1\nnone,1,2,3,4,1\n", "rsna", UnknownError),
    (HEADER + b"a,1,2,300,4,1\n", "rsna", InputError),
    (HEADER + b"a,1,2,nan,4,1\n", "rsna", InputError),
    (HEADER + b"a,1,2,3,4,5\n", "rsna", InputError),
    (HEADER + b",,,,,0\n", "rsna", InputError),
    (HEADER, "rsna", InputError),
    (b"\xff\xfe\0", "rsna", InputError),
    (HEADER + b'"' + b"a" * 200_000 + b'",,,,,0\n', "rsna", InputError),
    (b"", "rsna", InputError),
    (coco(), "json", UnknownError),
    (coco(), "../x", UnknownError),
]


@pytest.mark.parametrize(("document", "form", "kind"), WRONG)
def test_what_is_wrong_is_one_line(document: Any, form: str, kind: type[InputError]) -> None:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(kind) as caught:
        parse_labels(content, form, "one", size_of)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300 and "passwd" not in str(caught.value)


@pytest.mark.parametrize("reader", ["", "consensus", " all ", "x\n", "x" * 300])
def test_readers_that_cannot_be_one(reader: str) -> None:
    with pytest.raises(InputError):
        parse_labels(json.dumps(coco()).encode(), "coco", reader, size_of)


def test_sizes_are_those_of_the_radiographs(analysis: RadiographAnalysis, folder: Path) -> None:
    assert [size_in(analysis, name) for name in IDS] == [(90, 120)] * 3
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match="that can be read") as caught:
        size_in(analysis, "a")
    assert "a.png" not in str(caught.value)
    with pytest.raises(UnknownError):
        size_in(analysis, "../a")


def test_a_full_disk_is_said(submissions: Submissions, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, keep = parse_labels(json.dumps(coco()).encode(), "coco", "x", size_of), submissions.keep
    monkeypatch.setattr(submissions, "keep", lambda one: keep(one) if one.reader == "y" else full())
    with pytest.raises(UnavailableError, match="0 of 1 labels were stored.*add the rest"):
        keep_all(labels, submissions)


def full() -> Any:
    raise OSError(28, "No space left on device")
