"""Our markups in 3D Slicer's own code, and Slicer's in ours (PyPI's slicer-core)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_dgm.labelling.labels.image_label import as_array, make_boxes
from monai_dgm.labelling.labels.markups import boxes_to_markups, markups_to_boxes
from monai_dgm.transforms.placement import Placement

pytestmark = pytest.mark.service
ROI_CLASS = "vtkMRMLMarkupsROINode"


class Panel:
    """What MONAI Label's panel does with a scene: load a result's markups, save every ROI node into one document."""

    def __init__(self, slicer: Any, folder: Path) -> None:
        self.slicer, self.folder = slicer, folder
        self.scene = slicer.vtkMRMLScene()
        self.logic = slicer.vtkSlicerMarkupsLogic()
        self.logic.SetMRMLScene(self.scene)

    def load(self, document: dict[str, Any]) -> None:
        path = self.folder / "result.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        assert self.logic.LoadMarkups(str(path), "result")
        for place, node in enumerate(self.nodes()):
            node.SetName(f"Detection ROI - {place}")

    def nodes(self) -> list[Any]:
        return [
            self.scene.GetNthNodeByClass(i, ROI_CLASS) for i in range(self.scene.GetNumberOfNodesByClass(ROI_CLASS))
        ]

    def add(self, name: str) -> Any:
        return self.scene.AddNewNodeByClass(ROI_CLASS, name)

    def submission(self) -> str:
        markups = []
        for node in self.nodes():
            storage = self.slicer.vtkMRMLMarkupsROIJsonStorageNode()
            self.scene.AddNode(storage)
            storage.SetFileName(str(self.folder / "node.mrk.json"))
            assert storage.WriteData(node)
            markups += json.loads((self.folder / "node.mrk.json").read_text(encoding="utf-8"))["markups"]
        return json.dumps({"@schema": "x", "markups": markups})


@pytest.fixture
def panel(tmp_path: Path) -> Panel:
    slicer = pytest.importorskip("slicer", reason="PyPI's slicer-core is not installed (Python 3.10 to 3.12)")
    return Panel(slicer, tmp_path)


def test_random_boxes_through_slicer_and_back(tmp_path: Path, panel: Panel, random_case: Any) -> None:
    for seed in range(200):
        placement, boxes = random_case(seed)
        fresh = Panel(panel.slicer, tmp_path)
        fresh.load(boxes_to_markups(boxes, placement))
        for node, box in zip(fresh.nodes(), as_array(boxes), strict=True):
            bounds = [0.0] * 6
            node.GetRASBounds(bounds)
            corners = placement.to_world(box[[0, 1, 2, 1, 0, 3, 2, 3]].reshape(4, 2)) * [-1, -1, 1]
            middle = np.reshape(bounds, (3, 2)).mean(axis=1)
            np.testing.assert_allclose(middle, corners.mean(axis=0), atol=1e-3)
            size = np.asarray(node.GetSize())[:2] / placement.spacing[:2]
            np.testing.assert_allclose(size, box[2:] - box[:2], atol=1e-3)
        reading = markups_to_boxes(fresh.submission(), placement)
        assert reading.status == "boxes"
        np.testing.assert_allclose(as_array(reading.boxes), as_array(boxes), atol=5e-3)
        assert [(box.label, box.score) for box in reading.boxes] == [(box.label, box.score) for box in boxes]


def test_moved_turned_deleted_and_added_in_slicer(panel: Panel) -> None:
    placement = Placement.from_spacing(400, 300, (0.5, 0.8))
    models = make_boxes(
        [[20, 30, 90, 100], [150, 30, 250, 120], [40, 250, 120, 330]], ["lung_opacity"] * 3, [0.9, 0.6, 0.3]
    )
    panel.load(boxes_to_markups(models, placement))
    panel.load(boxes_to_markups(models, placement))  # a second run: the first one's nodes are still there
    prompt = panel.add("SAM2 ROI")
    nodes = panel.nodes()
    x, y, z = nodes[0].GetCenter()
    nodes[0].SetCenter(x - 4.0, y - 2.5, z)  # RAS: 5 pixels to the right of the image and 5 down
    for place in (2, 5):
        panel.scene.RemoveNode(nodes[place])
    added = panel.add("R")
    added.SetCenter(-100.0, -150.0, 0.0)
    added.SetSize(40.0, 20.0, 5.0)
    prompt.SetCenter(-10, -10, 0)
    prompt.RemoveAllControlPoints()  # as the panel does before it saves
    reading = markups_to_boxes(panel.submission(), placement, models)
    assert reading.status == "boxes"
    expected = [[25, 35, 95, 105], [150, 30, 250, 120], [100.5, 280.5, 150.5, 320.5]]
    np.testing.assert_allclose(as_array(reading.boxes), expected, atol=1e-3)
    assert [box.score for box in reading.boxes] == [0.9, 0.6, None]


def test_turned_rois_have_the_bounds_that_slicer_gives_them(panel: Panel) -> None:
    import vtk

    placement = Placement.from_spacing(400, 300, (0.5, 0.8))
    for angle in (0.3, 1.0, 2.5):
        node = panel.add("R")
        node.SetSize(40.0, 20.0, 0.0)
        matrix = vtk.vtkMatrix4x4()
        turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        for i, row in enumerate([[*turn[0], 0, -100.0], [*turn[1], 0, -90.0]]):
            for j, value in enumerate(row):
                matrix.SetElement(i, j, value)
        node.SetAndObserveObjectToNodeMatrix(matrix)
        bounds = [0.0] * 6
        node.GetRASBounds(bounds)
        (box,) = markups_to_boxes(panel.submission(), placement).boxes
        x, y = sorted([-bounds[0], -bounds[1]]), sorted([-bounds[2], -bounds[3]])
        expected = np.array([x[0] / 0.8, y[0] / 0.5, x[1] / 0.8, y[1] / 0.5]) + 0.5
        np.testing.assert_allclose(box.box, expected, atol=1e-3)
        panel.scene.RemoveNode(node)


def test_an_emptied_scene_is_a_confirmed_negative(panel: Panel) -> None:
    placement = Placement.from_spacing(400, 300)
    panel.load(boxes_to_markups(make_boxes([[20, 30, 90, 100]]), placement))
    panel.scene.RemoveNode(panel.nodes()[0])
    assert markups_to_boxes(panel.submission(), placement).status == "no_finding"
    panel.add("SAM2 ROI")
    assert markups_to_boxes(panel.submission(), placement).status == "no_finding"
