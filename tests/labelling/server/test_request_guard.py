from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.server.http_errors import UnknownError
from monai_dgm.labelling.server.request_guard import GuardPolicy, RequestGuard, is_loopback

POLICY = GuardPolicy.of(
    [("GET", "/x"), ("PUT", "/y/[a-z]+")], max_body_bytes=100, uploads=("/y/image",), max_upload_bytes=200
)


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


def test_what_is_offered_is_let_through() -> None:
    guard = RequestGuard(reads_all, POLICY)
    assert ask(guard) == (200, "fine")
    assert ask(guard, "PUT", "/y/abc", body=(b"x" * 60, b"y" * 40)) == (200, "fine")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/x/", 404),
        ("GET", "/y/../x", 404),
        ("POST", "/x", 403),
        ("GET", "/y/a", 403),
        ("PUT", "/y/A", 404),
        ("GET", "/x\n", 404),
        ("PUT", "/y/a/b", 404),
    ],
)
def test_what_is_not_offered_is_refused(method: str, path: str, status: int) -> None:
    assert ask(RequestGuard(reads_all, POLICY), method, path)[0] == status


@pytest.mark.parametrize("body", [(b"x" * 101,), (b"x" * 60, b"y" * 41)])
def test_a_body_is_counted_as_it_comes(body: tuple[bytes, ...]) -> None:
    status, answer = ask(RequestGuard(reads_all, POLICY), "PUT", "/y/a", body=body)
    assert status == 413 and answer == {"detail": "expected a request of at most 100 bytes"}
    assert ask(RequestGuard(reads_all, POLICY), "PUT", "/y/image", body=body) == (200, "fine")
    assert ask(RequestGuard(reads_all, POLICY), "PUT", "/y/image", body=(*body, *body))[0] == 413


@pytest.mark.parametrize("length", ["101", "-1", "1e3", "9" * 30, "x", "\xb2"])
def test_a_length_that_is_too_large_or_none_is_refused_at_once(length: str) -> None:
    assert ask(RequestGuard(failing(KeyError()), POLICY), headers={"content-length": length})[0] == 413
    assert ask(RequestGuard(reads_all, POLICY), query_string=b"x" * 9000)[0] == 413


@pytest.mark.parametrize(
    "neighbour",
    [
        {"server": ("192.168.1.5", 8000)},
        {"client": ("10.0.0.1", 1)},
        {"headers": {"host": "evil.example"}},
        {"headers": {"host": ""}},
        {"headers": {"origin": "http://evil.example"}},
        {"headers": {"origin": "null"}},
        {"headers": {"host": "127.0.0.1.evil.example"}},
        {"headers": {"origin": "http://[bad"}},
    ],
)
def test_without_a_login_only_this_machine_is_served(neighbour: dict[str, Any]) -> None:
    assert ask(RequestGuard(reads_all, POLICY), **neighbour)[0] == 403
    open_to_users = GuardPolicy.of([("GET", "/x")], authenticated=True)
    assert ask(RequestGuard(reads_all, open_to_users), **neighbour)[0] == 200


def test_this_machine_has_several_names() -> None:
    for name in ("localhost", "127.0.0.1", "127.8.0.1", "::1", "[::1]", "::ffff:127.0.0.1"):
        assert is_loopback(name)
    for name in ("0.0.0.0", "::", "example.org", "", None, "127.0.0.1.x", "::ffff:10.0.0.1"):
        assert not is_loopback(name)
    for headers in ({"host": "localhost:8000"}, {"host": "[::1]:8000"}, {"origin": "http://localhost:3000"}):
        assert ask(RequestGuard(reads_all, POLICY), headers=headers)[0] == 200


def test_errors_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    assert ask(RequestGuard(failing(UnknownError("no\nsuch")), POLICY)) == (404, {"detail": "no such"})
    assert ask(RequestGuard(failing(InputError("bad")), POLICY)) == (400, {"detail": "bad"})
    with caplog.at_level(logging.DEBUG):
        status, answer = ask(RequestGuard(failing(KeyError("Doe^Jane")), POLICY))
    assert status == 500 and "KeyError" in answer["detail"]
    assert "Doe" not in caplog.text + json.dumps(answer) and "test_request_guard.py" in caplog.text
    assert "Traceback" not in caplog.text
