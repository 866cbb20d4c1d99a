"""A folder in the browser without Orthanc: PNG and DICOM alike, with boxes, submission and the next case."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from monai_dgm.data.examples import example_radiographs
from tests.apps.ohif.conftest import serving
from tests.apps.ohif.server_with_boxes import SCORES, VERSION, known_boxes
from tests.apps.ohif.viewer import Study, Viewer, ask, wait_for
from tests.labelling.fake_archive import PATIENT, radiograph
from tests.programs import Programs

pytestmark = pytest.mark.service
READER = "anna"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two real radiographs of one patient, as a manifest says, and a DICOM file."""
    from monai_dgm.labelling.dicom_objects.derived import encode_dicom

    root = tmp_path_factory.mktemp("folder")
    for name in ("00000032_010.png", "00016705_006.png"):
        shutil.copy(example_radiographs() / "images" / name, root / name)
    lines = ["image,patient_id,study_date", "00000032_010.png,p32,2025-01-10", "00016705_006.png,p32,2026-03-01"]
    (root / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    (root / "one.dcm").write_bytes(encode_dicom(radiograph(rows=400, cols=400)))
    return root


@pytest.fixture(scope="module")
def folder_address(
    programs: Programs, app_dir: Path, ohif_dir: Path, folder: Path, decomposer_weights: Path, tmp_path_factory: Any
) -> Iterator[str]:
    state = tmp_path_factory.mktemp("state")
    settings = {"state_dir": state, "ohif_dir": ohif_dir, "decomposer": decomposer_weights, "bundles": state}
    with serving(programs, app_dir, SimpleNamespace(address=str(folder)), settings) as (running, _):
        yield running


def test_a_folder_is_read_in_the_browser(browser: Any, folder_address: str) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 840})
    viewer = Viewer(page, folder_address)
    page.goto(f"{folder_address}/ohif/?reader={READER}")
    page.get_by_text("00016705_006").first.wait_for(state="visible")
    viewer.shoot("folder_list")
    studies = ask(f"{folder_address}/dicom-web/studies")
    assert [item["00100020"]["Value"][0] for item in studies] == ["p32", "p32", PATIENT]
    for item in studies:
        name, uid = item["00081030"]["Value"][0].removeprefix("File "), item["0020000D"]["Value"][0]
        (header,) = ask(f"{folder_address}/dicom-web/studies/{uid}/metadata")
        shape = header["00280010"]["Value"][0], header["00280011"]["Value"][0]
        study = Study(uid, header["00080018"]["Value"][0], shape, (1.0, 1.0))
        viewer.open(study, READER)
        window = viewer.look(f"folder_{name}")
        assert window.std() > 20, "no radiograph is drawn"
        if name == "one":  # a pattern that is no chest: its boxes are not shown
            continue
        shown = viewer.rectangles(2)
        assert [one["label"] for one in shown] == [f"lung opacity {score:.2f}" for score in SCORES]
        assert f"2 boxes of {VERSION}" in viewer.status()
        viewer.press("SubmitBoxes")
        viewer.message(f"Submitted: 2 boxes, by {READER}")
        stored = ask(f"{folder_address}/datastore/label/info?label={name}")
        assert [(one["reader"], one["boxes"]) for one in stored["readers"]] == [(READER, 2)]
        exported = ask(f"{folder_address}/dgm/labels?form=json&readers=all")
        (label,) = [one for one in json.loads(json.dumps(exported))["labels"] if one["image_id"] == name]
        np.testing.assert_allclose([box["box"] for box in label["boxes"]], known_boxes(*shape), atol=0.5)
        if name == "00016705_006":
            viewer.key("p")
            viewer.wait_for_text("change", "2025-01-10")  # the other file of the patient
            viewer.shoot("folder_prior")
    assert not viewer.failures
    wait_for(lambda: ask(f"{folder_address}/dgm/state")["labelled"] == 2)
    page.close()
