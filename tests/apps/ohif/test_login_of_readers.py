"""The viewer where users log in: OHIF's own code flow with PKCE at a login server, and its token in each request."""

from __future__ import annotations

import os
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("monailabel", reason="MONAI Label is not installed (pip install -e '.[label]')")
from tests.apps.ohif.test_case import move_first_box
from tests.apps.ohif.viewer import Study, Viewer, ask, stored_label, wait_for
from tests.apps.realm import PASSWORD, Realm, running_realm
from tests.programs import Programs

pytestmark = pytest.mark.service

SECONDS_OF_TOKEN = 10  # the viewer asks for the next one after a second


@pytest.fixture(scope="module")
def realm() -> Iterator[Realm]:
    with running_realm() as server:
        yield server


@pytest.fixture
def study(studies: dict[str, Study]) -> Study:
    return studies["reported"]


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """State folder of the server."""
    return tmp_path_factory.mktemp("state-login")


@pytest.fixture(scope="module")
def login_address(
    programs: Programs,
    app_dir: Path,
    ohif_dir: Path,
    orthanc: Any,
    studies: dict[str, Study],
    labels: Path,
    realm: Realm,
    decomposer_weights: Path,
) -> Iterator[str]:
    """Of a label app whose users log in; it sends nothing to the archive, which other tests share."""
    import pacs

    port = pacs.free_port()
    address = f"http://127.0.0.1:{port}"
    realm.client.redirects = [f"{address}/ohif/callback", f"{address}/login/callback"]
    words = [str(Path(__file__).with_name("server_with_boxes.py")), "start_server"]
    words += ["--app", str(app_dir), "--studies", orthanc.address, "--host", "127.0.0.1", "--port", str(port)]
    settings = {"state_dir": labels, "ohif_dir": ohif_dir, "send_results": "false", "decomposer": decomposer_weights}
    environment = {**os.environ, **{f"MONAI_DGM_{name.upper()}": str(value) for name, value in settings.items()}}
    environment |= {"MONAI_DGM_BUNDLES": str(labels)}
    environment |= {"MONAI_LABEL_AUTH_ENABLE": "true", "MONAI_LABEL_AUTH_REALM_URI": realm.issuer}
    log = labels / "server.log"
    process = programs.start(words, env=environment, stdout=log, stderr=log, cwd=labels)
    try:
        wait_for(lambda: ask(f"{address}/auth/")["enabled"], process)
        yield address
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def viewer(browser: Any, login_address: str, realm: Realm) -> Iterator[Viewer]:
    """A browser that nobody has logged in with."""
    context = browser.new_context(viewport={"width": 1400, "height": 840})
    shown = Viewer(context.new_page(), login_address, login=realm.issuer)
    yield shown
    context.close()
    assert shown.failures == []


def log_in(viewer: Viewer, user: str, password: str = PASSWORD) -> None:
    viewer.page.wait_for_selector("input[name=password]")
    viewer.page.fill("input[name=username]", user)
    viewer.page.fill("input[name=password]", password)
    viewer.page.get_by_role("button", name="Sign in").click()


def test_without_a_token_nothing_is_told(login_address: str, study: Study) -> None:
    for path in ("/dicom-web/studies", f"/dgm/boxes?image={study.image}", "/dgm/state", "/datastore/?output=all"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(login_address + path)
        assert caught.value.code == 401


def test_readers_log_in_and_their_labels_are_theirs(viewer: Viewer, study: Study, labels: Path) -> None:
    user = "rita"
    tokens: dict[str, bool] = {}

    def note(request: Any) -> None:
        path = request.url.removeprefix(viewer.address)
        for start in ("/dicom-web", "/dgm/"):
            if path.startswith(start):
                sent = request.headers.get("authorization", "").startswith("Bearer ")
                tokens[start] = tokens.get(start, True) and sent

    viewer.page.on("request", note)
    # the name in the address is nobody's
    viewer.page.goto(f"{viewer.address}/ohif/viewer?StudyInstanceUIDs={study.uid}&reader=vera")
    log_in(viewer, user, "wrong")
    log_in(viewer, user)
    viewer.wait_for_radiograph(study)
    viewer.shoot(f"login_{user}")
    assert study.uid in viewer.page.url  # the login came back to the page that was asked for
    viewer.rectangles(2)
    viewer.press("AcceptAll")
    viewer.message(f"Submitted: 2 boxes, by {user}")
    viewer.shoot(f"login_{user}_submitted")
    label = stored_label(labels, study.image, user)
    assert label is not None and label["status"] == "boxes"
    assert stored_label(labels, study.image, "vera") is None
    assert tokens == {"/dicom-web": True, "/dgm/": True}


def test_a_login_is_renewed_while_the_reader_works_and_after_a_sleep(
    viewer: Viewer, study: Study, labels: Path, realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(realm, "seconds", SECONDS_OF_TOKEN)
    monkeypatch.setattr(realm, "leeway", 30)  # of lib.login
    logins = realm.issued.get("authorization_code", 0)
    viewer.page.goto(f"{viewer.address}/ohif/viewer?StudyInstanceUIDs={study.uid}")
    log_in(viewer, "anna")
    viewer.wait_for_radiograph(study)
    viewer.rectangles(2)
    move_first_box(viewer, study, (20, 20))
    viewer.wait_for_text("unsaved", "not submitted")
    renewals = realm.issued["refresh_token"]
    wait_for(lambda: viewer.page.wait_for_timeout(200) or realm.issued["refresh_token"] > renewals)
    tab = viewer.page.context.new_cdp_session(viewer.page)
    tab.send("Page.setWebLifecycleState", {"state": "frozen"})  # no timer of the page runs, as in a sleep
    time.sleep(SECONDS_OF_TOKEN + 2)
    tab.send("Page.setWebLifecycleState", {"state": "active"})
    viewer.press("SubmitBoxes")
    viewer.message("Submitted: 2 boxes, by anna")
    viewer.shoot("login_renewed")
    assert not viewer.page.get_by_text("Your login has ended").count() and study.uid in viewer.page.url
    assert realm.issued["authorization_code"] == logins + 1  # nobody was sent to the login server again
    label = stored_label(labels, study.image, "anna")
    assert label is not None and [box["score"] for box in label["boxes"]] == pytest.approx([0.87, 0.54])
