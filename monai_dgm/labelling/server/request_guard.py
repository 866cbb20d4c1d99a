"""A gate in front of a server's application (ASGI): who may ask, for what, how much; and one line when it goes wrong.

It stands before all routes, the platform's own among them, and needs no web framework.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import traceback
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from monai_dgm.errors import InputError
from monai_dgm.labelling.server.http_errors import ForbiddenError, TooLargeError, UnknownError, answer_to, status_of

__all__ = ["GuardPolicy", "RequestGuard", "is_loopback"]

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

MAX_QUERY_BYTES = 8_192


@dataclass(frozen=True)
class GuardPolicy:
    """What is let through.

    Args:
        routes: (methods, regular expression of the whole path) of what the server offers.
        authenticated: users have to log in. Otherwise only this machine is served, and no web page from elsewhere that
            a browser on it shows.
        max_body_bytes: of a request: a label with its options.
        uploads: paths to which images are sent.
        max_upload_bytes: of a request to one of these.
    """

    routes: Sequence[tuple[frozenset[str], re.Pattern[str]]]
    authenticated: bool = False
    max_body_bytes: int = 4_000_000
    uploads: tuple[str, ...] = ()
    max_upload_bytes: int = 0

    @classmethod
    def of(cls, routes: Iterable[tuple[str, str]], **rest: Any) -> GuardPolicy:
        """From ("GET HEAD", "/info/?") pairs."""
        return cls([(frozenset(methods.split()), re.compile(path)) for methods, path in routes], **rest)

    def limit(self, path: str) -> int:
        """Bytes that a request to a path may have."""
        return self.max_upload_bytes if path in self.uploads else self.max_body_bytes


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address is this machine's own."""
    name = (host or "").strip("[]").lower()
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


class RequestGuard:
    """ASGI middleware.

    Args:
        application: what it guards.
        policy: what it lets through.
    """

    def __init__(self, application: Application, policy: GuardPolicy) -> None:
        self.application = application
        self.policy = policy

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] == "lifespan":
            await self.application(scope, receive, send)
        elif scope["type"] == "http":
            await _Exchange(self, scope, receive, send).run()

    def check(self, scope: Message) -> None:
        """Refuse what is not let through.

        Raises:
            ForbiddenError, UnknownError, TooLargeError: with the reason.
        """
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if not self.policy.authenticated:
            _check_neighbour(scope, headers)
        path, method = scope["path"], scope["method"]
        methods = [allowed for allowed, pattern in self.policy.routes if pattern.fullmatch(path)]
        if not methods:
            raise UnknownError("this server has no such address")
        if method != "OPTIONS" and not any(method in allowed for allowed in methods):
            raise ForbiddenError("this server does not offer that")
        if len(scope.get("query_string", b"")) > MAX_QUERY_BYTES:
            raise TooLargeError(f"expected a query of at most {MAX_QUERY_BYTES} bytes")
        length = headers.get(b"content-length", "0")
        limit = self.policy.limit(path)
        if not (length.isascii() and length.isdigit()) or len(length) > 15 or int(length) > limit:
            raise TooLargeError(f"expected a request of at most {limit} bytes")


def _check_neighbour(scope: Message, headers: dict[bytes, str]) -> None:
    refused = "expected a request from this machine, for users do not have to log in here (MONAI_LABEL_AUTH_ENABLE)"
    for end in (scope.get("server"), scope.get("client")):
        if end is not None and _is_address(end[0]) and not is_loopback(end[0]):
            raise ForbiddenError(refused)
    if not is_loopback(_host(f"//{headers.get(b'host', '')}")):  # another name that leads here: DNS rebinding
        raise ForbiddenError(refused)
    origin = headers.get(b"origin")
    if origin is not None and not is_loopback(_host(origin)):
        raise ForbiddenError("expected no request of a web page from elsewhere")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


class _Exchange:
    """One request and its response."""

    def __init__(self, guard: RequestGuard, scope: Message, receive: Receive, send: Send) -> None:
        self.guard = guard
        self.scope = scope
        self._receive = receive
        self._send = send
        self.received = 0
        self.started = False
        self.closed = False

    async def run(self) -> None:
        try:
            self.guard.check(self.scope)
            await self.guard.application(self.scope, self.receive, self.send)
        except InputError as error:
            await self.refuse(status_of(error), answer_to(error))
        except Exception as error:  # whatever it is: its message may hold what came in, or a patient's name
            place = traceback.extract_tb(error.__traceback__)[-1]
            logger.error("%s in %s:%s", type(error).__name__, place.filename, place.lineno)
            await self.refuse(500, f"the server failed ({type(error).__name__}); nothing was stored")

    async def receive(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b""))
        limit = self.guard.policy.limit(self.scope["path"])
        if self.received > limit and not self.closed:
            error = TooLargeError(f"expected a request of at most {limit} bytes")
            await self.refuse(status_of(error), str(error))
            raise error
        return message

    async def send(self, message: Message) -> None:
        if self.closed:
            return
        self.started = self.started or message["type"] == "http.response.start"
        await self._send(message)

    async def refuse(self, status: int, reason: str) -> None:
        """Answer in one line, unless an answer is under way."""
        if self.closed or self.started:
            return
        self.closed = True
        body = json.dumps({"detail": reason}).encode("utf-8")
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if status == 413:
            headers.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": b"" if self.scope["method"] == "HEAD" else body})
