"""Models over HTTP: maps, boxes, classification, batches, and files that are not kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from tests.apps.hostile import bombs
from tests.apps.panel import EMPTY, MODELS, check_refusal, files_of, infer, parts, submit


def test_the_saliency_lies_on_the_image_that_is_served(client: Any, tmp_path: Path) -> None:
    params, name, content = parts(infer(client, "decompose", "c", {"threshold": 0.01}))
    assert name == "saliency.nii.gz" and {"abnormality_probability", "severity", "lung_mask_source"} <= params.keys()
    (tmp_path / name).write_bytes(content)
    served = client.get("/datastore/image", params={"image": "c"})
    (tmp_path / "image.nii.gz").write_bytes(served.content)
    image, label = nibabel.load(tmp_path / "image.nii.gz"), nibabel.load(tmp_path / name)
    assert image.shape == label.shape == (120, 90, 1)
    np.testing.assert_array_equal(image.affine, label.affine)


@pytest.mark.parametrize("name", ["saliency", "heat", "normal", "residue", "overlay"])
def test_further_maps_have_an_address(client: Any, name: str) -> None:
    answer = client.get(f"/dgm/maps/{name}", params={"image": "c"})
    assert answer.status_code == 200 and len(answer.content) > 100


def test_without_boxes_the_panel_gets_a_note(client: Any) -> None:
    params, name, content = parts(infer(client, "detect_opacities", "c", {"score_threshold": 1.0}))
    assert name == "opacities.json" and params["boxes"] == []
    assert "no opacity" in json.loads(content)["markups"][0]["controlPoints"][0]["label"]


def test_classification_is_plain_json(client: Any) -> None:
    values = infer(client, "classify", "c").json()
    assert 0 <= values["abnormality_probability"] <= 1 and values["opacity_probability"] is None


def test_a_batch_notes_boxes_for_later_readers(client: Any, studies: Path) -> None:
    assert client.get("/batch/infer/").status_code == 404
    run = client.post("/batch/infer/detect_opacities", params={"run_sync": "true"}).json()
    assert (run["status"], run["done"], run["failed"]) == ("DONE", 3, 0)
    assert client.get("/batch/infer/").json()["id"] == run["id"]
    submit(client, "c", EMPTY, "later")
    (file,) = (studies / ".monai_dgm" / "labels").rglob("0*.json")
    assert json.loads(file.read_text())["model_boxes"]


def test_without_weights_the_server_says_how_to_train(start_client: Any, studies: Path, tmp_path: Path) -> None:
    client = start_client(studies, decomposer="")
    answer = infer(client, "decompose", "c")
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("there is no trained decomposer in bundles/dgm/models; train one: ")
    assert submit(client, "c", EMPTY).status_code == 200


PARAMS = ["[", "[]", "3", '{"map": 3}', '{"threshold": {}}', '{"client_id": [1]}', '{"threshold": 1e999}', "\0"]


def test_wrong_params_are_refused(client: Any) -> None:
    for params in PARAMS:
        check_refusal(client.post("/infer/decompose", params={"image": "c"}, data={"params": params}))


def test_params_cannot_change_what_the_address_says(client: Any) -> None:
    hostile = {"image": "/etc/passwd", "model": "x", "_id": 1, "label": "/etc/passwd", "session": {}, "reader": "one"}
    assert infer(client, "classify", "c", hostile).status_code == 200


def test_a_file_is_analysed_and_not_kept(client: Any, studies: Path) -> None:
    content, before = (studies / "c.png").read_bytes(), kept_files(studies)
    for model in MODELS:
        files = {"file": ("anything.png", content)}
        answer = client.post(f"/infer/{model}", files=files, params={"output": "json"}).json()
        same = infer(client, model, "c", output="json").json()
        assert {**answer, "latency": 0} == {**same, "latency": 0}
    assert kept_files(studies) == before
    for name, data in {**bombs(), "x.png": b"x", "x.sh": content}.items():
        check_refusal(client.post("/infer/decompose", files={"file": (name, data)}))
    check_refusal(client.post("/infer/decompose"))


def kept_files(folder: Path) -> list[Path]:
    """Files but the model's boxes, which each inference on an image of the studies keeps."""
    return [path for path in files_of(folder) if "predictions" not in path.parts]
