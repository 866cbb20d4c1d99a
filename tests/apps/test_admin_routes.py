"""What administrators do: read the audit log, delete radiographs, labels and results. With users that log in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("monailabel", reason="MONAI Label is not installed (pip install -e '.[label]')")
from tests.apps.realm import Realm, running_realm

NEGATIVE = b'{"status": "no_finding", "boxes": []}'


@pytest.fixture(scope="module")
def realm() -> Iterator[Realm]:
    with running_realm() as server:
        yield server


@pytest.fixture
def client(realm: Realm, start_client: Any, studies: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from monailabel.config import settings

    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_ENABLE", True)
    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_REALM_URI", realm.issuer)
    return start_client(studies)


def submit(client: Any, realm: Realm, user: str, image: str = "Doe_Jane") -> None:
    assert client.put(f"/dgm/boxes?image={image}", content=NEGATIVE, headers=realm.headers(user)).status_code == 200


def audit(client: Any, realm: Realm, **query: str) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = client.get("/dgm/audit", params=query, headers=realm.headers("adam")).json()["lines"]
    return lines


def test_the_audit_log_says_who_did_what_and_names_no_patient(client: Any, realm: Realm, studies: Path) -> None:
    client.get("/datastore/image?image=Doe_Jane", headers=realm.headers("rolf"))
    client.get("/datastore/image?image=Doe_Jane", headers=realm.headers("rolf"))
    submit(client, realm, "rita")
    assert client.put("/dgm/boxes?image=Doe_Jane", content=b"x", headers=realm.headers("rita")).status_code == 400
    assert client.delete("/datastore/label?image=Doe_Jane", headers=realm.headers("rolf")).status_code == 403
    assert client.get("/dgm/labels?form=json", headers=realm.headers("vera")).status_code == 200
    found = audit(client, realm, image="Doe_Jane")
    assert [(line["event"], line["user"], line.get("status")) for line in found] == [
        ("view", "rolf", None),
        ("label", "rita", None),
        ("outcome", "rita", 200),
        ("label", "rita", None),
        ("outcome", "rita", 400),
        ("denied", "rolf", None),
        ("view", "adam", None),  # to read the log is a view, too
    ]
    assert [line["event"] for line in audit(client, realm, user="vera")] == ["export"]
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\dT[\d:.]+Z", line["time"]) for line in found)
    for file in (studies / ".monai_dgm" / "audit").iterdir():
        assert "Doe" not in file.read_text()


def test_the_query_does_not_hide_what_is_viewed(client: Any, realm: Realm) -> None:
    from monailabel.interfaces.utils.app import app_instance

    names = app_instance().folder.names("Doe_Jane")
    headers = realm.headers("rolf")
    assert client.get("/datastore/label?label=Doe_Jane&image=c", headers=headers).status_code == 400
    assert client.get(f"/dicom-web/studies/{names.study}/series?image=c", headers=headers).status_code == 200
    assert client.get(f"/dgm/numbers?image={names.instance}", headers=headers).status_code == 200  # by its UID
    viewed = audit(client, realm, user="rolf")
    log = app_instance().access.audit
    assert [line["about"] for line in viewed] == [log.code_of("study", names.study), log.code_of("image", "Doe_Jane")]


def test_a_log_that_was_changed_is_told(client: Any, realm: Realm, studies: Path) -> None:
    submit(client, realm, "rita")
    path = studies / ".monai_dgm" / "audit" / "audit.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    answer = client.get("/dgm/audit", headers=realm.headers("adam"))
    assert answer.status_code == 500 and str(studies) not in answer.text


def test_nothing_is_done_that_the_log_cannot_say(client: Any, realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    from monailabel.interfaces.utils.app import app_instance

    log = app_instance().access.audit

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log, "add", full)
    answer = client.put("/dgm/boxes?image=c", content=NEGATIVE, headers=realm.headers("rita"))
    assert answer.status_code == 507 and "nothing was stored" in answer.json()["detail"]
    assert app_instance().submissions.labelled() == set()


def test_a_label_is_deleted_with_a_record(client: Any, realm: Realm, studies: Path) -> None:
    for user in ("rita", "rolf"):
        submit(client, realm, user)
    labels = studies / ".monai_dgm" / "labels"
    gone = client.delete("/datastore/label?image=Doe_Jane&reader=rita", headers=realm.headers("anna"))
    assert gone.json() == {"image": "Doe_Jane", "labels": 1}
    info = client.get("/datastore/label/info?label=Doe_Jane", headers=realm.headers("anna")).json()
    assert [reader["reader"] for reader in info["readers"]] == ["rolf"]
    assert len(list(labels.rglob("0*.json"))) == 1
    again = client.delete("/datastore/label?image=Doe_Jane&reader=rita", headers=realm.headers("anna"))
    assert again.status_code == 404
    deleted = [line for line in audit(client, realm, image="Doe_Jane") if line["event"] == "delete"]
    assert [(line["user"], line["route"]) for line in deleted] == [("anna", "DELETE /datastore/label")] * 2


def test_an_image_is_deleted_with_all_that_is_kept_about_it(client: Any, realm: Realm, studies: Path) -> None:
    submit(client, realm, "rita")
    client.post("/infer/detect_opacities?image=Doe_Jane", headers=realm.headers("rita"))
    predictions = studies / ".monai_dgm" / "predictions"
    assert list(predictions.rglob("0*.json"))
    gone = client.delete("/datastore/image?image=Doe_Jane", headers=realm.headers("adam")).json()
    assert gone == {"image": "Doe_Jane", "labels": 1, "model_boxes": 1}
    assert not (studies / "Doe_Jane.png").exists()
    kept = list((studies / ".monai_dgm").rglob("*.json"))
    assert not [path for path in kept if "Doe_Jane" in path.read_text()]
    assert client.delete("/datastore/image?image=Doe_Jane", headers=realm.headers("adam")).status_code == 404
    assert client.get("/datastore/", headers=realm.headers("rita")).json()["total"] == 2


def test_results_of_a_study_are_deleted(client: Any, realm: Realm, studies: Path) -> None:
    submit(client, realm, "rita", "c")
    client.post("/infer/detect_opacities?image=c", headers=realm.headers("rita"))
    gone = client.delete("/dgm/studies/c/results", headers=realm.headers("adam")).json()
    assert gone == {"images": 1, "model_boxes": 1}
    assert client.get("/datastore/label?label=c", headers=realm.headers("rita")).status_code == 200  # labels stay
    assert client.delete("/dgm/studies/x/results", headers=realm.headers("adam")).status_code == 404


def test_the_page_has_each_event_with_its_outcome(client: Any, realm: Realm) -> None:
    submit(client, realm, "rita")
    client.put("/dgm/boxes?image=Doe_Jane", content=b"x", headers=realm.headers("rita"))
    text = client.get("/dgm/admin", headers=realm.headers("adam")).text
    rows = re.findall(r"<td>rita</td><td>(\w+)</td><td>(\d*)</td><td>PUT /dgm/boxes</td>", text)
    assert rows == [("label", "400"), ("label", "200")]  # the latest first
    assert "outcome" not in text and "Doe" not in text


def test_health_and_metrics_tell_no_names(client: Any, realm: Realm) -> None:
    submit(client, realm, "rita")
    assert client.get("/health").json() == {"status": "ok", "problems": []}
    assert client.get("/metrics").status_code == 403  # the test's client is not of this machine
    text = client.get("/metrics", headers=realm.headers("adam")).text
    assert "monai_dgm_labelled_images 1.0" in text and "monai_dgm_images 3.0" in text
    assert 'monai_dgm_requests_total{route="PUT /dgm/boxes",status="200"} 1.0' in text
    assert "monai_dgm_disk_free_bytes" in text and 'decomposer="decomposer-' in text
    assert not re.search("Doe|rita", text)


def test_a_server_that_is_not_well_says_so(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from monailabel.interfaces.utils.app import app_instance

    monkeypatch.setattr(app_instance().analysis.models, "has", lambda name: False)
    answer = client.get("/health")
    assert answer.status_code == 503 and answer.json()["problems"] == ["no decomposer"]


def test_the_page_shows_failures_and_tries_them_again(client: Any, realm: Realm, studies: Path) -> None:
    from monailabel.interfaces.utils.app import app_instance

    selection, admin = app_instance().selection, realm.headers("adam")
    good = (studies / "c.png").read_bytes()
    (studies / "c.png").write_bytes(good[:300])
    assert client.post("/activelearning/combined", headers=realm.headers("rita")).status_code == 200
    selection._background.wait(60)
    page = client.get("/dgm/admin", headers=admin).text
    assert "<code>c</code>" in page and "image: expected" in page and "1 image is left out" in page
    assert re.search(r"Free space for labels and results</td><td class=\"number\">[\d.]+ [kMGT]?B", page)
    assert 'A training runs</td><td class="number">no</td>' in page
    assert "<script" not in page and "http://" not in page and "https://" not in page  # nothing from elsewhere
    (studies / "c.png").write_bytes(good)
    assert client.post("/dgm/admin/retry", headers=admin, follow_redirects=False).status_code == 303
    selection._background.wait(60)
    assert selection.failures == {} and selection.scores.get("c").suspicion is not None
    assert client.post("/dgm/admin/cache", headers=admin, follow_redirects=False).status_code == 303


def test_pages_have_no_script(client: Any, realm: Realm) -> None:
    for path in ("/", "/docs", "/dgm/admin"):
        answer = client.get(path, headers=realm.headers("adam"))
        assert "<script" not in answer.text and "cdn" not in answer.text
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "PUT" in client.get("/docs").text and "/dgm/boxes" in client.get("/docs").text
