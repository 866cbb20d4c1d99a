"""What a box loses on its way to a reader's program and back, by each route, and the one rule that stands above it.

Each route takes the model's boxes of radiographs of many sizes, the largest 65,535 pixels a side, to the form in which
a program sends them back.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from monai_dgm.data.rsna import parse_boxes
from monai_dgm.labelling.archive.reports import label_of_report
from monai_dgm.labelling.dicom_objects.derived import Algorithm, encode_dicom
from monai_dgm.labelling.dicom_objects.structured_report_reader import read_opacity_report
from monai_dgm.labelling.labels.image_label import ImageLabel, LabelledBox, as_array, make_boxes
from monai_dgm.labelling.labels.label_io import (
    labels_to_coco,
    labels_to_rsna_csv,
    parse_coco,
    rsna_boxes_to_labels,
)
from monai_dgm.labelling.labels.markups import boxes_to_markups, markups_to_boxes
from monai_dgm.labelling.labels.reader_boxes import read_viewer_boxes, with_model_boxes
from monai_dgm.transforms.boxes import SAME_BOX_PIXELS
from monai_dgm.transforms.placement import Placement
from tests.labelling.dicom_objects.study import area, corners, group, radiograph_header, region, report

Boxes = tuple[LabelledBox, ...]
Route = Callable[[Boxes, Placement], Boxes]
SEEDS = range(15)


def single(value: Any) -> Any:
    """Numbers of a document as a program in single precision keeps them."""
    if isinstance(value, dict):
        return {key: single(item) for key, item in value.items()}
    if isinstance(value, list):
        return [single(item) for item in value]
    return float(np.float32(value)) if isinstance(value, float) else value


def by_viewer(boxes: Boxes, placement: Placement) -> Boxes:
    """The viewer in a browser keeps corners in mm; here in single precision, which is less than it has."""
    sent = []
    for box in boxes:
        world = placement.to_world(np.reshape(box.box, (2, 2))).astype(np.float32)
        sent.append({**box.as_dict(), "box": placement.to_pixels(world).ravel().tolist()})
    return read_viewer_boxes(json.dumps({"status": "boxes", "boxes": sent}), placement).boxes


def by_slicer(boxes: Boxes, placement: Placement) -> Boxes:
    """Markups of 3D Slicer, in single precision."""
    return markups_to_boxes(json.dumps(single(boxes_to_markups(boxes, placement))), placement, boxes).boxes


def by_report(boxes: Boxes, placement: Placement) -> Boxes:
    """A report as OHIF saves it, written to a file."""
    header = radiograph_header(Rows=placement.rows, Columns=placement.cols)
    groups = [group(area(region(header, "POLYLINE", corners(*box.box)))) for box in boxes]
    document = report(header, *groups, person="Roe^Ann")
    document.file_meta = pydicom.dataset.FileMetaDataset()
    document.file_meta.MediaStorageSOPClassUID = document.SOPClassUID
    document.file_meta.MediaStorageSOPInstanceUID = document.SOPInstanceUID
    document.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    document.is_little_endian, document.is_implicit_VR = True, False
    read = read_opacity_report(pydicom.dcmread(io.BytesIO(encode_dicom(document))), [header])
    size = placement.rows, placement.cols
    label = label_of_report(read, header.SOPInstanceUID, size, "reader", None)
    assert label is not None
    return label.boxes


def by_our_report(boxes: Boxes, placement: Placement) -> Boxes:
    """Our own report of the model's boxes."""
    pytest.importorskip("highdicom", reason="DICOM output needs the label extra")
    from monai_dgm.labelling.dicom_objects.structured_report import write_opacity_report

    header = radiograph_header(Rows=placement.rows, Columns=placement.cols)
    document = write_opacity_report(header, as_array(boxes), algorithm=Algorithm("dgm", "1"), reader="Roe^Ann")
    read = read_opacity_report(pydicom.dcmread(io.BytesIO(encode_dicom(document))), [header])
    return tuple(LabelledBox(item.box, "lung_opacity") for item in read.opacities)


def by_coco(boxes: Boxes, placement: Placement) -> Boxes:
    """A COCO file."""
    document = json.dumps(labels_to_coco([label_of(boxes, placement)])).encode()
    return parse_coco(document, "labels", 10**6, "reader")[0].boxes


def by_rsna_csv(boxes: Boxes, placement: Placement) -> Boxes:
    """The challenge's CSV."""
    document = parse_boxes(labels_to_rsna_csv([label_of(boxes, placement)]).encode(), "labels")
    return rsna_boxes_to_labels("labels", document, {"image": (placement.rows, placement.cols)}, "reader")[0].boxes


def by_whole_pixels(boxes: Boxes, placement: Placement) -> Boxes:
    """A label file of a program that writes whole pixels, as the challenge's own are."""
    return tuple(LabelledBox(tuple(np.rint(box.box)), box.label, box.score) for box in boxes)


# the most that an edge may move, in pixels
ROUTES: dict[str, tuple[Route, float]] = {
    "viewer": (by_viewer, 0.004),
    "slicer": (by_slicer, 0.004),
    "report": (by_report, 0.001),
    "our report": (by_our_report, 0.001),
    "coco": (by_coco, 0.001),
    "rsna csv": (by_rsna_csv, 0.001),
    "whole pixels": (by_whole_pixels, 0.5),
}


def label_of(boxes: Boxes, placement: Placement, **fields: Any) -> ImageLabel:
    size = placement.rows, placement.cols
    return ImageLabel("image", size, "boxes", boxes, fields.pop("reader", "reader"), "import", **fields)


def case(seed: int, random_case: Any) -> tuple[Placement, Boxes]:
    """A random radiograph and boxes; every fifth is as large as DICOM allows, with boxes of its far corner."""
    placement, boxes = random_case(seed)
    if seed % 5 == 0:
        side = 65_535
        placement = Placement.from_spacing(side, side, (0.143, 0.143))
        moved = [tuple(np.float32(side - 4000) + np.float32(edge) for edge in box.box) for box in boxes]
        boxes = tuple(LabelledBox(box, "lung_opacity", 0.5) for box in moved)
    return placement, boxes


@pytest.mark.parametrize("route", ROUTES)
def test_no_route_loses_as_much_as_the_tolerance(route: str, random_case: Any) -> None:
    back, limit = ROUTES[route]
    lost = 0.0
    for seed in SEEDS:
        placement, boxes = case(seed, random_case)
        exact, returned = (np.array([box.box for box in some]) for some in (boxes, back(boxes, placement)))
        lost = max(lost, float(np.abs(returned - exact).max()))
    assert lost <= limit < SAME_BOX_PIXELS, f"{route}: {lost:.3g} pixels"


@pytest.mark.parametrize("route", ROUTES)
def test_an_unchanged_box_is_the_models_box_again(route: str, random_case: Any) -> None:
    back, _ = ROUTES[route]
    for seed in SEEDS:
        placement, boxes = case(seed, random_case)
        shown = label_of(boxes, placement, reader="model", model_version="7")
        label = with_model_boxes(label_of(back(boxes, placement), placement), shown)
        assert [box.box for box in label.boxes] == [box.box for box in boxes]
        assert [box.score for box in label.boxes] == [box.score for box in boxes]
        assert (label.model_boxes, label.model_version) == (boxes, "7")


@pytest.mark.parametrize("route", ROUTES)
def test_a_box_moved_by_three_pixels_is_the_readers(route: str) -> None:
    placement = Placement.from_spacing(500, 400, (0.5, 0.3))
    models = tuple(LabelledBox(box, "lung_opacity", 0.87) for box in [(40.0, 30.0, 140.0, 200.0), (200, 30, 300, 90)])
    moved = (LabelledBox((43.0, 30.0, 143.0, 200.0), "lung_opacity"), models[1])
    shown = label_of(models, placement, reader="model", model_version="7")
    first, second = with_model_boxes(label_of(ROUTES[route][0](moved, placement), placement), shown).boxes
    np.testing.assert_allclose(first.box, moved[0].box, atol=0.01)
    assert first.score == 0.87 and second == models[1]


@pytest.mark.parametrize("route", [route for route in ROUTES if route != "whole pixels"])
def test_the_same_boxes_give_the_same_label_by_every_route(route: str) -> None:
    placement = Placement.from_spacing(500, 400, (0.5, 0.3))
    model_corners = [[40, 30, 140, 200], [200, 30, 300, 90], [10, 300, 60, 390]]
    models = make_boxes(model_corners, ["lung_opacity"] * 3, [0.9, 0.5, 0.3])
    sent = [
        LabelledBox((40.7, 29.2, 139.4, 200.6), "lung_opacity", 0.9),  # kept
        LabelledBox((210, 40, 330, 110), "lung_opacity"),  # moved; this program does not know the score
        LabelledBox((300, 420, 350, 490), "lung_opacity", 0.3),  # moved so far that it is another one
    ]
    shown = label_of(models, placement, reader="model", model_version="7")
    label = with_model_boxes(label_of(ROUTES[route][0](tuple(sent), placement), placement), shown)
    assert label.boxes[0] == models[0]
    np.testing.assert_allclose(as_array(label.boxes[1:]), as_array(sent[1:]), atol=0.01)
    assert [(box.label, box.score) for box in label.boxes] == [("lung_opacity", score) for score in (0.9, 0.5, None)]


def test_boxes_shown_on_another_size_of_the_image_are_not_used(make_label: Any) -> None:
    label = make_label([[10, 10, 50, 50]])
    assert with_model_boxes(label, make_label([[10, 10, 50, 50]], size=(300, 300), reader="model")) == label
    assert with_model_boxes(label, None) == label


def test_another_finding_in_the_models_place_keeps_its_name(make_label: Any) -> None:
    label = make_label([LabelledBox((10.3, 10, 50, 50), "nodule")])
    (box,) = with_model_boxes(label, make_label([LabelledBox((10, 10, 50, 50), "lung_opacity", 0.5)])).boxes
    assert box == LabelledBox((10, 10, 50, 50), "nodule", 0.5)


SCRIPT = """
const annotations = [];
const none = () => {};
let drawn = 0;
global.window = global;
window.cornerstone = { utilities: { uuidv4: () => `box-${(drawn += 1)}` }, triggerEvent: none };
window.cornerstoneTools = {
  annotation: { state: {
    getAllAnnotations: () => annotations,
    addAnnotation: one => annotations.push(one),
    removeAnnotation: uid => annotations.splice(annotations.findIndex(one => one.annotationUID === uid), 1),
  }, config: { style: { setAnnotationStyles: none } } },
  utilities: { triggerAnnotationRenderForViewportIds: none },
  Enums: { Events: {} },
};
window.setTimeout = none;
const identity = { worldToIndex: point => [...point], indexToWorld: index => new Float32Array(index) };
const shown = { imageId: 'image', viewportId: 'v', viewport: { getViewReference: () => ({}) }, imageData: identity };
for (const file of process.argv.slice(2)) require(file);
const { boxes } = window.monaiDgm;
const TOLERANCE = 1;
const model = [[10.1, 20.2, 110.3, 90.4], [200, 20, 260, 80]];
boxes.show(shown, model.map(box => ({ box, label: 'lung_opacity', score: 0.5 })), "model", TOLERANCE);
const nudge = (index, by) => annotations[index].data.handles.points.forEach(point => (point[0] += by));
nudge(0, 0.99);
nudge(1, 1.01);
const sent = boxes.read(shown);
boxes.show(shown, [{ box: [11, 20, 111, 90], label: null, score: 0.6 }], "model", TOLERANCE);
console.log(JSON.stringify({ sent, after: boxes.read(shown) }));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
def test_the_viewers_script_uses_the_servers_tolerance(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "run.js").write_text(SCRIPT)
    files = [str(repository / "apps/radiology_dgm/ohif" / name) for name in ("02-geometry.js", "03-boxes.js")]
    done = subprocess.run(["node", str(tmp_path / "run.js"), *files], capture_output=True, text=True, check=True)
    values = json.loads(done.stdout)
    np.testing.assert_allclose(values["sent"][0]["box"], [11.09, 20.2, 111.29, 90.4], atol=1e-4)
    np.testing.assert_allclose([box["box"] for box in values["after"]], [[201.01, 20, 261.01, 80], [11, 20, 111, 90]])
    assert [box["score"] for box in values["after"]] == [0.5, 0.6]  # the unchanged one gave way, the moved one stayed
