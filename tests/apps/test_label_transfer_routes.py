"""Labels out and in over HTTP, in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

BOXES = {"status": "boxes", "boxes": [{"box": [10, 20, 60.5, 70]}]}
NONE = {"status": "no_finding", "boxes": []}


def get(client: Any, **query: str) -> Any:
    return client.get("/dgm/labels", params=query)


def put(client: Any, content: bytes, **query: str) -> Any:
    return client.put("/dgm/labels", params={"form": "coco", "reader": "import", **query}, content=content)


def label_some(client: Any) -> None:
    for image, reader, document in (("c", "one", BOXES), ("c", "two", BOXES), ("Doe_Jane", "one", NONE)):
        query = {"image": image, "reader": reader}
        assert client.put("/dgm/boxes", params=query, content=json.dumps(document)).status_code == 200


def stored(studies: Path) -> list[Path]:
    return sorted((studies / ".monai_dgm" / "labels").rglob("0*.json"))


def test_labels_go_out_and_come_in(client: Any, studies: Path) -> None:
    label_some(client)
    assert get(client).json()["annotations"][0]["bbox"] == [10, 20, 50.5, 50]
    everyone = get(client, form="json", readers="all")
    assert [one["reader"] for one in everyone.json()["labels"]] == ["one", "one", "two"]
    for form in ("coco", "rsna"):
        exported = get(client, form=form, readers="one")
        assert exported.headers["x-dgm-images"] == "2" and "labels-" in exported.headers["content-disposition"]
        for added in (2, 0):
            done = put(client, exported.content, form=form, reader=f"import {form}").json()
            assert (done["images"], done["added"], done["unchanged"]) == (2, added, 2 - added)
    assert len(stored(studies)) == 3 + 4
    readers = client.get("/datastore/label/info", params={"label": "c", "tag": "final"}).json()["readers"]
    assert {one["reader"] for one in readers} == {"one", "two", "import coco", "import rsna"}


def test_nothing_of_a_wrong_file_is_stored(client: Any, studies: Path) -> None:
    label_some(client)
    before, exported = stored(studies), get(client).json()
    exported["images"].append({"id": 9, "file_name": "none", "image_id": "none", "width": 120, "height": 90})
    refused = {
        404: [put(client, json.dumps(exported).encode()), get(client, readers="x")],
        413: [put(client, b" " * 4_000_001)],
        400: [put(client, b"{}"), get(client, readers="all"), put(client, b"{}", reader="all")],
        422: [client.put("/dgm/labels", content=b"{}"), put(client, b"{}", form="xml")],
    }
    for status, answers in refused.items():
        for answer in answers:
            assert answer.status_code == status and "\n" not in answer.json()["detail"], answer.text
    assert stored(studies) == before
