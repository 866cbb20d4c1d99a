"""Login against an OpenID Connect server: which tokens count, what each role may do, and the login of a browser."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("monailabel", reason="MONAI Label is not installed (pip install -e '.[label]')")
import httpx

from monai_dgm.labelling.server.http_errors import LoginError
from tests.apps.realm import CLIENT, PASSWORD, Realm, running_realm

EMPTY = b'{"markups": []}'
NEGATIVE = b'{"status": "no_finding", "boxes": []}'


@pytest.fixture(scope="module")
def realm() -> Iterator[Realm]:
    with running_realm() as server:
        yield server


@pytest.fixture
def settings(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> Any:
    from monailabel.config import settings

    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_ENABLE", True)
    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_REALM_URI", realm.issuer)
    return settings


@pytest.fixture
def client(settings: Any, start_client: Any, studies: Path) -> Any:
    return start_client(studies)


def status(client: Any, headers: dict[str, str], path: str = "/dgm/state") -> int:
    answer = client.get(path, headers=headers)
    if answer.status_code >= 400:
        detail = answer.json()["detail"]
        assert "\n" not in detail and "Traceback" not in detail
        assert (answer.status_code == 401) == ("www-authenticate" in answer.headers)
    return int(answer.status_code)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_token_of_the_login_server_counts(client: Any, realm: Realm, algorithm: str) -> None:
    realm.rotate(algorithm)
    _forget_keys(client)
    assert status(client, realm.headers("rita")) == 200
    user = client.get("/auth/token/valid", headers=realm.headers("rita")).json()
    assert (user["username"], user["role"], user["roles"]) == ("rita", "reader", ["monailabel-annotator"])


def test_tokens_that_do_not_count(client: Any, realm: Realm) -> None:
    now = int(time.time())
    wrong: dict[str, dict[str, Any]] = {
        "expired": {"exp": now - 60},
        "never expires": {"exp": None},
        "not yet": {"nbf": now + 120},
        "for another server": {"aud": ["other"]},
        "for nobody": {"aud": None},
        "of another login server": {"iss": "https://login.example.org/realms/test"},
        "of none": {"iss": None},
        "an ID token": {"typ": "ID"},
        "an ID token of another software": {"typ": None, "at_hash": "x"},
        "a refresh token": {"typ": "Refresh"},
        "without a name": {"preferred_username": None},
        "with a strange name": {"preferred_username": ["rita"]},
        "with a name that is changed when it is stored": {"preferred_username": " rita"},
    }
    for name, claims in wrong.items():
        assert status(client, realm.headers("rita", **claims)) == 401, name
    assert status(client, realm.headers("rita", exp=now - 10)) == 200  # clocks may differ a little
    for header in ("", "Bearer", "Bearer ", "Basic cml0YTp4", "Bearer a.b.c", "Bearer " + "a" * 20_000, "Bearer é"):
        assert status(client, {"authorization": header.encode("latin-1")}) == 401, header  # type: ignore[dict-item]
    assert status(client, {}) == 401


def test_the_signature_is_checked_with_the_algorithm_that_we_choose(client: Any, realm: Realm) -> None:
    from joserfc import jwk

    realm.rotate()
    _forget_keys(client)
    good = realm.token("adam")
    head, body, signature = good.split(".")
    other = base64.urlsafe_b64encode(json.dumps(realm.claims("adam", sub="x")).encode()).rstrip(b"=").decode()
    none = base64.urlsafe_b64encode(b'{"alg": "none"}').rstrip(b"=").decode()
    public = realm.key.as_pem(private=False)
    secret = (
        base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": realm.key.kid}).encode()).rstrip(b"=")
        + b"."
        + body.encode()
    )
    forged = secret + b"." + base64.urlsafe_b64encode(hmac.digest(public, secret, "sha256")).rstrip(b"=")
    stranger = Realm()
    stranger.issuer = realm.issuer
    stranger.key = jwk.RSAKey.import_key(stranger.key.as_dict(private=True) | {"kid": realm.key.kid})
    for token in (
        f"{head}.{other}.{signature}",
        f"{none}.{body}.",
        f"{none}.{body}.{signature}",
        f"{head}.{body}.",
        forged.decode(),
        stranger.token("adam"),
    ):
        assert status(client, {"authorization": f"Bearer {token}"}) == 401
    assert status(client, {"authorization": f"Bearer {good}"}) == 200


def test_keys_are_changed_without_a_restart(client: Any, realm: Realm) -> None:
    old = realm.headers("rita")
    assert status(client, old) == 200
    realm.rotate()
    own_application(client).state.access.server._keys.cooldown_duration = 0  # some seconds later
    assert status(client, realm.headers("rita")) == 200  # a key that was not known is asked for
    assert status(client, old) == 401  # and the withdrawn one is not known any more


def test_unknown_keys_do_not_flood_the_login_server(client: Any, realm: Realm) -> None:
    assert status(client, realm.headers("rita")) == 200
    before = realm.key_requests
    stranger = Realm()
    stranger.issuer = realm.issuer
    for _ in range(20):
        assert status(client, stranger.headers("adam")) == 401
    assert realm.key_requests <= before + 1


def test_without_the_login_server_nobody_comes_in(
    settings: Any, start_client: Any, studies: Path, realm: Realm
) -> None:
    settings.MONAI_LABEL_AUTH_REALM_URI = "http://127.0.0.1:9/realms/test"
    client = start_client(studies)
    assert status(client, realm.headers("rita")) == 503


def test_the_login_server_has_to_be_safe(settings: Any, start_client: Any, studies: Path) -> None:
    from monai_dgm.errors import InputError

    settings.MONAI_LABEL_AUTH_REALM_URI = "http://login.example.org/realms/test"
    with pytest.raises(InputError, match="expected https://"):
        start_client(studies)


ORDER = ("rita", "vera", "anna", "adam")  # readers' roles from low to high


def test_every_route_has_a_rule_and_keeps_it(client: Any, realm: Realm) -> None:
    """Walks over all routes: without a token 401, with a role that is too low 403, with the role neither."""
    from lib.rules import Role, rules_of

    headers = {Role(number + 1): realm.headers(name) for number, name in enumerate(ORDER)}
    seen = 0
    for path, methods in routes_of(client):
        rule = rules_of(path, methods)
        place = path.replace("{path:path}", "studies").replace("{", "").replace("}", "")
        for method in methods:
            seen += 1
            if rule.role is Role.NOBODY:
                answer = client.request(method, place, follow_redirects=False)
                assert answer.status_code not in (401, 403, 500) or path in ("/metrics", "/login/callback"), place
                continue
            assert client.request(method, place).status_code == 401, place
            assert client.request(method, place, headers=realm.headers("paul")).status_code == 403, (
                place
            )  # no role of ours
            for role, header in headers.items():
                answer = client.request(method, place, headers=header, content=b"x" if role < rule.role else b"")
                allowed = answer.status_code not in (401, 403)
                assert allowed == (role >= rule.role), (method, place, role, answer.status_code, answer.text)
                if role == rule.role:
                    break  # those above may, too; what they would do here needs to be done once only
    assert seen > 50


def routes_of(client: Any) -> Iterator[tuple[str, set[str]]]:
    """(path, methods) of all routes of the application, however they were added."""
    from fastapi.routing import APIRoute
    from lib.access import GuardedRoute

    application = own_application(client)
    included = [route for router in application.state.routers for route in router.routes]
    assert len(application.routes) == len(application.state.routers)  # nothing was added beside the routers
    for route in included:
        assert isinstance(route, APIRoute) and isinstance(route, GuardedRoute), route
        yield route.path, set(route.methods)


def own_application(client: Any) -> Any:
    """Our application inside MONAI Label's."""
    return next(
        cell.cell_contents for cell in client.app.middleware_stack.__closure__ if hasattr(cell.cell_contents, "state")
    )


def test_a_rule_that_is_missing_is_noticed_at_once() -> None:
    from fastapi import APIRouter
    from lib.access import GuardedRoute

    router = APIRouter(route_class=GuardedRoute)
    with pytest.raises(KeyError):
        router.get("/dgm/new")(lambda: None)


def test_the_body_of_a_stranger_is_not_read(client: Any) -> None:
    def body() -> Iterator[bytes]:
        yield b"--x\r\n"
        raise AssertionError("it was read")

    headers = {"content-type": "multipart/form-data; boundary=x", "content-length": "1000000"}
    answer = client.put("/datastore/image", content=b"", headers=headers)
    assert answer.status_code == 401


def test_the_login_decides_whose_label_it_is(client: Any, realm: Realm) -> None:
    for name in ("rita", "rolf"):
        answer = client.put("/dgm/boxes?image=c&reader=vera", content=NEGATIVE, headers=realm.headers(name))
        assert answer.json()["reader"] == name
    fields, files = {"params": json.dumps({"client_id": "vera"})}, {"label": ("x.json", EMPTY)}
    answer = client.put("/datastore/label?image=c", data=fields, files=files, headers=realm.headers("rita"))
    assert answer.json()["reader"] == "rita"


def test_the_panels_client_logs_in_with_a_password(client: Any, realm: Realm) -> None:
    asked = client.get("/auth/").json()
    assert asked == {"enabled": True, "client_id": CLIENT, "realm": realm.issuer}
    fields = {"username": "rita", "password": PASSWORD, "grant_type": "password"}
    token = client.post("/auth/token", data=fields).json()
    assert status(client, {"authorization": f"{token['token_type']} {token['access_token']}"}, "/info/") == 200
    wrong = client.post("/auth/token", data={**fields, "password": "wrong"})
    assert (wrong.status_code, wrong.json()["detail"]) == (401, "the login server refuses this login")


def log_in(client: Any, user: str, to: str = "/docs") -> httpx.Response:
    """What a browser does; returns the answer to its last request."""
    begun = client.get("/login", params={"to": to}, follow_redirects=False)
    address = begun.headers["location"]
    query = parse_qs(urlsplit(address).query)
    assert query["code_challenge_method"] == ["S256"] and query["response_type"] == ["code"]
    answer = httpx.post(address, data={"username": user, "password": PASSWORD}, follow_redirects=False)
    back = urlsplit(answer.headers["location"])
    return client.get(f"{back.path}?{back.query}", follow_redirects=False)


def test_a_browser_logs_in_for_pages(client: Any, realm: Realm) -> None:
    realm.client.redirects = ["http://localhost/login/callback"]
    done = log_in(client, "adam")
    cookie = done.headers["set-cookie"]
    assert done.headers["location"] == "/docs" and "HttpOnly" in cookie and "SameSite=lax" in cookie
    assert "adam (administrator)" in client.get("/docs").text
    own = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}
    assert client.put("/dgm/boxes?image=c", content=NEGATIVE, headers=own).json()["reader"] == "adam"
    assert client.put("/dgm/boxes?image=c", content=NEGATIVE).status_code == 403  # a page elsewhere may have sent it
    assert (
        client.put("/dgm/boxes?image=c", content=NEGATIVE, headers={"origin": "http://evil.example"}).status_code == 403
    )
    assert client.post("/logout", headers=own, follow_redirects=False).status_code == 303
    assert client.get("/dgm/state").status_code == 401


def test_a_session_is_renewed(client: Any, realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    realm.client.redirects = ["http://localhost/login/callback"]
    monkeypatch.setattr(realm, "seconds", 5)  # less than the time before the end when it is renewed
    log_in(client, "rita")
    before = realm.issued.get("refresh_token", 0)
    assert [client.get("/dgm/state").status_code for _ in range(3)] == [200] * 3
    assert realm.issued["refresh_token"] > before


def test_two_requests_at_once_renew_a_session_once(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(repository / "apps" / "radiology_dgm"))
    from lib.login import Account
    from lib.sessions import Sessions, _Session

    class Once:  # a login server that takes each refresh token once
        valid, renewals = "r0", 0

        def token(self, fields: dict[str, str]) -> dict[str, str]:
            time.sleep(0.05)
            if fields["refresh_token"] != self.valid:
                raise LoginError("used before")
            self.renewals += 1
            self.valid = f"r{self.renewals}"
            return {"access_token": f"a{self.renewals}", "refresh_token": self.valid}

        def account(self, token: str) -> Account:
            return Account("rita", (), time.time() + 300)

    server: Any = Once()
    sessions = Sessions(server)
    sessions._sessions["key"] = _Session("a0", "r0", time.time())
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(sessions.token, ["key"] * 4)) == ["a1"] * 4
    assert sessions.token("key") == "a1" and server.renewals == 1


def test_over_tls_a_cookie_counts_that_no_other_host_can_set(client: Any, realm: Realm) -> None:
    realm.client.redirects = ["http://localhost/login/callback"]
    key = log_in(client, "rita").cookies["monai-dgm"]
    client.cookies.clear()
    states = [
        client.get("https://localhost/dgm/state", headers={"cookie": f"{name}={key}"}).status_code
        for name in ("monai-dgm", "__Host-monai-dgm")
    ]
    assert states == [401, 200]
    cookie = client.get("https://localhost/login", follow_redirects=False).headers["set-cookie"]
    assert cookie.startswith("__Host-") and "Path=/;" in cookie and "Secure" in cookie and "Domain" not in cookie


def test_a_login_that_began_elsewhere_is_refused(client: Any, realm: Realm) -> None:
    realm.client.redirects = ["http://localhost/login/callback"]
    begun = client.get("/login", follow_redirects=False)
    answer = httpx.post(begun.headers["location"], data={"username": "adam", "password": PASSWORD})
    back = urlsplit(answer.headers["location"])
    client.cookies.clear()  # another browser, to which the address was sent
    assert client.get(f"{back.path}?{back.query}").status_code == 401
    assert client.get("/login/callback?state=&code=x").status_code == 401
    assert client.get("/dgm/state").status_code == 401


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "/a\r\nx: y", "javascript:1"]
)
def test_a_login_leads_to_pages_of_this_server_only(client: Any, realm: Realm, target: str) -> None:
    realm.client.redirects = ["http://localhost/login/callback"]
    assert log_in(client, "rita", target).headers["location"] == "/"


def _forget_keys(client: Any) -> None:
    own_application(client).state.access.server._keys = None
