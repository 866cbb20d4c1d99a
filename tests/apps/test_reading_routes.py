"""Double reading over HTTP, in this process: worklist, blinded second reads, adjudication, agreement."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

BOX = {"box": [10, 20, 60, 70]}
OTHER = {"box": [70, 20, 110, 60]}


@pytest.fixture
def client(start_client: Any, studies: Path) -> Any:
    return start_client(studies, readers_per_case="2")


def put(client: Any, image: str, reader: str, *boxes: Any, path: str = "/dgm/boxes") -> Any:
    document = json.dumps({"status": "boxes" if boxes else "no_finding", "boxes": boxes})
    return client.put(path, params={"image": image, "reader": reader}, content=document)


def opened(client: Any, image: str, reader: str) -> Any:
    return client.post("/dgm/boxes", params={"image": image, "reader": reader}).json()


def prolong(client: Any, image: str, reader: str) -> Any:
    return client.put("/dgm/reservation", params={"image": image, "reader": reader}).json()["reserved"]


def rows(client: Any, reader: str, **order: Any) -> dict[str, Any]:
    answer = client.post("/dgm/worklist", params={"reader": reader}, json=order).json()
    return {row["image"]: row for row in answer["rows"]}


def test_second_reads_are_blinded(client: Any) -> None:
    assert put(client, "c", "one", BOX).status_code == 200
    second = opened(client, "c", "two")
    assert second["readers"] == [] and second["blinded"] and second["own"] is None and second["reserved"]
    assert client.get("/dgm/boxes", params={"image": "c", "reader": "two"}).json()["readers"] == []
    row = rows(client, "two")["c"]
    assert row["readers"] == [] and row["num_readers"] == 1 and row["waits"]
    assert client.get("/datastore/label", params={"label": "c"}).status_code == 404  # nor by 3D Slicer
    assert client.get("/datastore/label/info", params={"label": "c"}).json()["readers"] == []
    assert "one" not in json.dumps(client.get("/datastore/", params={"output": "all"}).json())
    put(client, "c", "two")
    seen = opened(client, "c", "two")
    assert [one["reader"] for one in seen["readers"]] == ["one", "two"] and not seen["blinded"]
    assert not opened(client, "c", "three")["reserved"] and not rows(client, "three")["c"]["waits"]


def test_a_case_is_offered_to_two_readers_at_a_time(client: Any) -> None:
    taken = {reader: opened(client, "c", reader)["reserved"] for reader in ("one", "two", "three")}
    assert taken == {"one": True, "two": True, "three": False}
    prolonged = {reader: prolong(client, "c", reader) for reader in taken}
    assert prolonged == taken
    client.delete("/dgm/reservation", params={"image": "c", "reader": "three"})  # nobody ends that of another reader
    assert not opened(client, "c", "three")["reserved"]
    assert client.delete("/dgm/reservation", params={"image": "c", "reader": "one"}).status_code == 200
    assert opened(client, "c", "three")["reserved"] and not opened(client, "c", "one")["reserved"]
    assert client.delete("/dgm/reservation", params={"image": "none", "reader": "one"}).status_code == 200
    offered: list[str] = []
    while found := client.post("/dgm/next", params={"reader": "one"}, json={"skipped": offered}).json():
        offered.append(found["image"])
    assert sorted(offered) == ["Doe_Jane", "Roe_Richard"]
    assert not any(row["open"] for row in rows(client, "two", text="oe_").values())  # skipped: others may have them


def test_a_reviewer_decides_and_the_decision_is_the_consensus(client: Any) -> None:
    put(client, "c", "one", BOX)
    refused = put(client, "c", "rita", OTHER, path="/dgm/adjudication")
    assert refused.status_code == 400 and "two readers" in refused.json()["detail"]
    assert client.get("/dgm/readings", params={"image": "c"}).status_code == 400
    put(client, "c", "two", OTHER)
    assert list(rows(client, "rita", show="disputed")) == ["c"]
    readings = client.get("/dgm/readings", params={"image": "c"}).json()
    assert [(one["reader"], one["boxes"][0]["box"]) for one in readings] == [("one", BOX["box"]), ("two", OTHER["box"])]
    kept = put(client, "c", "rita", OTHER, path="/dgm/adjudication").json()
    assert kept["reader"] == "adjudication by rita" and rows(client, "rita", show="disputed") == {}
    (image,) = client.get("/dgm/labels", params={"form": "json"}).json()["labels"]
    assert [box["box"] for box in image["boxes"]] == [OTHER["box"]]
    assert len(client.get("/dgm/readings", params={"image": "c"}).json()) == 2


def test_agreement_as_json_csv_and_page(client: Any) -> None:
    assert "No radiograph has been read by two readers" in client.get("/agreement").text
    put(client, "c", "=one", BOX)
    put(client, "c", "two", BOX)
    put(client, "Doe_Jane", "=one")
    put(client, "Doe_Jane", "two", OTHER)
    values = client.get("/dgm/agreement").json()
    (pair,) = values["pairs"]
    assert (pair["readers"], pair["images"], pair["matched"], pair["same_status"]) == (["=one", "two"], 2, 1, 0.5)
    assert pair["matched_iou"] == 1.0 and values["disputed"] == ["Doe_Jane"]
    (line,) = csv.DictReader(io.StringIO(client.get("/dgm/agreement", params={"form": "csv"}).text))
    assert line["first"] == "'=one" and float(line["kappa"]) == pytest.approx(pair["kappa"])
    text = client.get("/agreement").text
    assert "=one, two" in text and "1 radiograph waits" in text and "<script" not in text


def test_what_is_wrong_is_refused_in_one_line(client: Any) -> None:
    for document in (b"[]", b'{"sort": "x"}', b'{"show": 1}', b"\xff", json.dumps({"text": "x" * 1000}).encode()):
        answer = client.post("/dgm/worklist", content=document)
        assert answer.status_code == 400 and "\n" not in answer.json()["detail"]
    assert put(client, "none", "rita", path="/dgm/adjudication").status_code in (400, 404)
    assert client.get("/dgm/agreement", params={"form": "xls"}).status_code == 422
