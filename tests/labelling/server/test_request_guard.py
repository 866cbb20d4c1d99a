from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.server.http_errors import UnknownError
from monai_dgm.labelling.server.request_guard import RequestGuard, is_loopback


def guarded(application: Any) -> RequestGuard:
    return RequestGuard(application, max_body_bytes=100, upload_paths=("/y/image",), max_upload_bytes=200)


def ask(
    guard: RequestGuard,
    method: str = "GET",
    path: str = "/x",
    headers: Any = None,
    body: tuple[bytes, ...] = (b"",),
    **scope: Any,
) -> tuple[int, Any]:
    """Status and JSON body of one request."""
    chunks = [{"type": "http.request", "body": part, "more_body": i + 1 < len(body)} for i, part in enumerate(body)]
    sent: list[Any] = []

    async def receive() -> Any:
        return chunks.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    fields = {"host": "127.0.0.1:8000", **(headers or {})}
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
    whole = {"type": "http", "method": method, "path": path, "headers": pairs, "query_string": b"", **scope}
    asyncio.run(guard({"server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 5), **whole}, receive, send))
    text = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(text) if text else None


async def reads_all(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b'"fine"'})


def failing(error: Exception) -> Any:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise error

    return application


def test_requests_from_this_machine_pass() -> None:
    guard = guarded(reads_all)
    assert ask(guard) == (200, "fine")
    assert ask(guard, "PUT", "/y/abc", body=(b"x" * 60, b"y" * 40)) == (200, "fine")


@pytest.mark.parametrize("body", [(b"x" * 101,), (b"x" * 60, b"y" * 41)])
def test_a_body_is_counted_as_it_comes(body: tuple[bytes, ...]) -> None:
    status, answer = ask(guarded(reads_all), "PUT", "/y/a", body=body)
    assert status == 413 and answer == {"detail": "expected a request of at most 100 bytes"}
    assert ask(guarded(reads_all), "PUT", "/y/image", body=body) == (200, "fine")
    assert ask(guarded(reads_all), "PUT", "/y/image", body=(*body, *body))[0] == 413


@pytest.mark.parametrize("length", ["101", "-1", "1e3", "9" * 30, "x", "\xb2"])
def test_a_length_that_is_too_large_or_none_is_refused_at_once(length: str) -> None:
    assert ask(guarded(failing(KeyError())), headers={"content-length": length})[0] == 413
    assert ask(guarded(reads_all), query_string=b"x" * 9000)[0] == 413


@pytest.mark.parametrize(
    "sender",
    [
        {"server": ("192.168.1.5", 8000)},
        {"client": ("10.0.0.1", 1)},
    ],
)
def test_without_a_login_only_this_machine_is_served(sender: dict[str, Any]) -> None:
    assert ask(guarded(reads_all), **sender)[0] == 403
    assert ask(RequestGuard(reads_all, authenticated=True), **sender)[0] == 200


OTHERS = [
    "http://evil.example",
    "null",
    "http://[bad",
    "",
    "http://127.0.0.1:3000",
    "http://127.0.0.1",
    "http://localhost:8000",
]
FETCH = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}
LINK = {**FETCH, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.mark.parametrize("login", [False, True])
def test_pages_of_other_origins_may_only_link_here(login: bool) -> None:
    guard = RequestGuard(reads_all, authenticated=login)
    for origin in OTHERS:
        for method in ("GET", "DELETE"):
            assert ask(guard, method, headers={"origin": origin})[0] == 403, origin
    for site in ("cross-site", "same-site"):  # another port of this machine is the same site
        for mode, dest in (("cors", "empty"), ("no-cors", "image"), ("navigate", "iframe"), ("no-cors", "script")):
            fetch = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
            assert ask(guard, headers=fetch)[0] == 403
        assert ask(guard, headers={**LINK, "sec-fetch-site": site})[0] == 200
        assert ask(guard, "POST", headers={**LINK, "sec-fetch-site": site})[0] == 403
    for fine in ({"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}, {"origin": "http://127.0.0.1:8000"}):
        assert ask(guard, "DELETE", headers=fine)[0] == 200
    behind_tls = {"host": "labels.example.org", "origin": "https://labels.example.org"}
    assert ask(guard, "DELETE", headers=behind_tls)[0] == 200
    assert ask(guard, "DELETE", headers={**behind_tls, "origin": "https://labels.example.org:444"})[0] == 403


def test_browsers_keep_answers_from_other_sites() -> None:
    for application in (reads_all, failing(UnknownError("none")), failing(KeyError())):
        headers: dict[bytes, bytes] = {}

        async def send(message: Any, headers: dict[bytes, bytes] = headers) -> None:
            headers.update(message.get("headers", []))

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        scope = {"type": "http", "method": "GET", "path": "/x", "headers": [], "query_string": b""}
        asyncio.run(guarded(application)(scope, receive, send))
        assert headers[b"cross-origin-resource-policy"] == b"same-origin"
        assert headers[b"x-content-type-options"] == b"nosniff" and headers[b"cache-control"] == b"no-store"
        assert b"default-src 'none'" in headers[b"content-security-policy"]


def test_this_machine_has_several_names() -> None:
    for name in ("localhost", "127.0.0.1", "127.8.0.1", "::1", "[::1]", "::ffff:127.0.0.1"):
        assert is_loopback(name)
    for name in ("0.0.0.0", "::", "example.org", "", None, "127.0.0.1.x", "::ffff:10.0.0.1"):
        assert not is_loopback(name)
    for headers in ({"host": "localhost:8000"}, {"host": "[::1]:8000"}):
        assert ask(guarded(reads_all), headers=headers)[0] == 200


def test_errors_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    assert ask(guarded(failing(UnknownError("no\nsuch")))) == (404, {"detail": "no such"})
    assert ask(guarded(failing(InputError("bad")))) == (400, {"detail": "bad"})
    with caplog.at_level(logging.DEBUG):
        status, answer = ask(guarded(failing(KeyError("Doe^Jane"))))
    assert status == 500 and "KeyError" in answer["detail"]
    assert "Doe" not in caplog.text + json.dumps(answer) and "test_request_guard.py" in caplog.text
    assert "Traceback" not in caplog.text
