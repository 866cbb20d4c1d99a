"""ASGI middleware that checks each request before any route: who sends it, and how large it is.

It also turns every error of the application into one line without patient data, and adds the headers with which a
browser keeps answers from other sites. It needs no web framework. Pages of other origins are refused, those of other
ports of this machine, too; they may only link to this server. Where users do not log in, only this machine is served.
The Host header is checked by Starlette's ``TrustedHostMiddleware``, which comes after this one.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import logging
import traceback
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from monai_dgm.errors import InputError
from monai_dgm.labelling.server.http_errors import ForbiddenError, TooLargeError, answer_to, status_of

__all__ = ["RequestGuard", "is_loopback"]

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

MAX_QUERY_BYTES = 8_192
MAX_BODY_BYTES = 4_000_000  # a label with its options
FULL = (errno.ENOSPC, errno.EDQUOT)
DISK_FULL = "the server's disk is full; nothing was stored"
# of every answer that does not have its own
HEADERS = {
    b"cross-origin-resource-policy": b"same-origin",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cache-control": b"no-store",
}


def is_loopback(host: str | None) -> bool:
    """Whether a host name or an IP address means this machine itself."""
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
    """The middleware.

    Args:
        app: the application behind it.
        authenticated: users have to log in; if not, only this machine is served.
        max_body_bytes: size of a request's body.
        upload_paths: addresses to which images are sent.
        max_upload_bytes: size of a request's body there.
    """

    def __init__(
        self,
        app: Application,
        authenticated: bool = False,
        max_body_bytes: int = MAX_BODY_BYTES,
        upload_paths: Collection[str] = (),
        max_upload_bytes: int = 0,
    ) -> None:
        self.app = app
        self.authenticated = authenticated
        self.max_body_bytes = max_body_bytes
        self.upload_paths = upload_paths
        self.max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request; connections that are not HTTP get no answer."""
        if scope["type"] == "http":
            await _Exchange(self, scope, receive, send).run()

    def limit(self, path: str) -> int:
        """Number of bytes that the body of a request to ``path`` may have."""
        return self.max_upload_bytes if path in self.upload_paths else self.max_body_bytes

    def check(self, scope: Message) -> None:
        """Check sender, query and declared length.

        Raises:
            ForbiddenError, TooLargeError: with the reason.
        """
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if not self.authenticated:
            _check_sender(scope)
        _check_page(scope["method"], headers)
        if len(scope.get("query_string", b"")) > MAX_QUERY_BYTES:
            raise TooLargeError(f"expected a query of at most {MAX_QUERY_BYTES} bytes")
        length, limit = headers.get(b"content-length", "0"), self.limit(scope["path"])
        if not (length.isascii() and length.isdigit()) or len(length) > 15 or int(length) > limit:
            raise TooLargeError(f"expected a request of at most {limit} bytes")


def _check_sender(scope: Message) -> None:
    for end in (scope.get("server"), scope.get("client")):
        if end is not None and _is_address(end[0]) and not is_loopback(end[0]):
            raise ForbiddenError(
                "expected a request from this machine, for users do not log in here (MONAI_LABEL_AUTH_ENABLE)"
            )


def _check_page(method: str, headers: dict[bytes, str]) -> None:
    """Refuse requests that a page of another origin makes; a link to a page of ours is none of these."""
    link = method in ("GET", "HEAD") and headers.get(b"sec-fetch-mode") == "navigate"
    foreign = headers.get(b"sec-fetch-site") in ("cross-site", "same-site") and not (
        link and headers.get(b"sec-fetch-dest") == "document"
    )
    origin = headers.get(b"origin")
    if foreign or (origin is not None and _authority(origin) != _authority(f"//{headers.get(b'host', '')}", origin)):
        raise ForbiddenError("expected no request of a web page from another origin")


def _authority(url: str, scheme_of: str = "") -> tuple[str, int] | None:
    """(host, port) of an address; None if it has none. Of the scheme of ``scheme_of`` where it has none itself."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme or urlsplit(scheme_of).scheme)
        return None if not parts.hostname or port is None else (parts.hostname, port)
    except ValueError:
        return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


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
            await self.guard.app(self.scope, self.receive, self.send)
        except InputError as error:
            await self.refuse(status_of(error), answer_to(error))
        except OSError as error:
            if error.errno not in FULL:
                await self.fail(error)
            else:
                logger.error("the disk is full")
                await self.refuse(507, DISK_FULL)
        except Exception as error:  # its message may hold input or patient data
            await self.fail(error)

    async def fail(self, error: Exception) -> None:
        """Answer to an error that is not the client's; its message is not shown."""
        origin = traceback.extract_tb(error.__traceback__)[-1]
        logger.error("%s in %s:%s", type(error).__name__, origin.filename, origin.lineno)
        await self.refuse(500, f"the server failed ({type(error).__name__}); nothing was stored")

    async def receive(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b""))
        limit = self.guard.limit(self.scope["path"])
        if self.received > limit and not self.closed:
            error = TooLargeError(f"expected a request of at most {limit} bytes")
            await self.refuse(status_of(error), str(error))
            raise error
        return message

    async def send(self, message: Message) -> None:
        if self.closed:
            return
        if message["type"] == "http.response.start":
            self.started = True
            own = list(message.get("headers", []))
            known = {name.lower() for name, _ in own}
            message = {**message, "headers": own + [item for item in HEADERS.items() if item[0] not in known]}
        await self._send(message)

    async def refuse(self, status: int, reason: str) -> None:
        """Answer in one line, unless another answer has begun."""
        if self.closed or self.started:
            return
        self.closed = True
        body = json.dumps({"detail": reason}).encode("utf-8")
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if status == 413:
            headers.append((b"connection", b"close"))
        headers += HEADERS.items()
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": b"" if self.scope["method"] == "HEAD" else body})
