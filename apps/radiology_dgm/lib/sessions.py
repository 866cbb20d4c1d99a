"""Sessions of browsers that log in on a page of ours: a random cookie here, the login server's tokens in memory.

OHIF holds its token itself; a page such as the administrators' needs a cookie, as browsers send no token for a page.
The tokens never reach a script. After a restart of the server, browsers log in again.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from authlib.common.security import generate_token
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from lib.login import LoginServer
from monai_dgm.labelling.server.http_errors import LoginError

COOKIE_NAMES = ("__Host-monai-dgm", "monai-dgm")  # over TLS, where no other host can set it, and on this machine
MAX_SESSIONS = 1000
MAX_PENDING = 1000
PENDING_SECONDS = 600.0  # to type a password
EARLY_SECONDS = 30.0  # a token is renewed so long before it ends


def cookie_name(scheme: str) -> str:
    """Name of a session's cookie in a request by "https" or "http"."""
    return COOKIE_NAMES[0 if scheme == "https" else 1]


@dataclass
class _Session:
    token: str
    refresh: str | None
    until: float
    renewal: threading.Lock = field(default_factory=threading.Lock)  # a refresh token may count once


@dataclass(frozen=True)
class Pending:
    """A login that has begun.

    Attributes:
        verifier: of PKCE (RFC 7636).
        redirect: address to which the login server sends the browser.
        target: page to show afterwards.
        begun: time of the monotonic clock.
    """

    verifier: str
    redirect: str
    target: str
    begun: float


class Sessions:
    """Logins of browsers. Safe with several threads.

    Args:
        server: of the logins.
    """

    def __init__(self, server: LoginServer) -> None:
        self.server = server
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._pending: OrderedDict[str, Pending] = OrderedDict()

    def begin(self, redirect: str, target: str) -> tuple[str, dict[str, str]]:
        """A new login: its state, and the query for the login server's page."""
        state, pending = generate_token(43), Pending(generate_token(64), redirect, target, time.monotonic())
        with self._lock:
            self._pending[state] = pending
            while len(self._pending) > MAX_PENDING:
                self._pending.popitem(last=False)
        return state, {
            "response_type": "code",
            "client_id": self.server.client,
            "redirect_uri": redirect,
            "scope": "openid profile",
            "state": state,
            "code_challenge": create_s256_code_challenge(pending.verifier),
            "code_challenge_method": "S256",
        }

    def finish(self, state: str, code: str) -> tuple[str, str]:
        """(key of the new session, page to show) for the code that the login server sent.

        Raises:
            LoginError: a login that did not begin here, took too long, or is refused.
            UnavailableError: the login server does not answer.
        """
        with self._lock:
            pending = self._pending.pop(state, None)
        if pending is None or time.monotonic() - pending.begun > PENDING_SECONDS:
            raise LoginError("this login did not begin here, or took too long; begin again")
        fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": pending.redirect}
        session = self._session(self.server.token({**fields, "code_verifier": pending.verifier}))
        key = secrets.token_urlsafe(32)
        with self._lock:
            self._sessions[key] = session
            while len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)
        return key, pending.target

    def token(self, key: str) -> str | None:
        """The access token of a session, renewed if it ends soon; None if there is no such session."""
        with self._lock:
            session = self._sessions.get(key)
        if session is None:
            return None
        with session.renewal:  # a page sends several requests at once
            if session.refresh is None or time.time() < session.until - EARLY_SECONDS:
                return session.token
            fields = {"grant_type": "refresh_token", "refresh_token": session.refresh}
            try:
                renewed = self._session(self.server.token(fields))
            except LoginError:
                self.end(key)
                return None
            session.token, session.until = renewed.token, renewed.until
            session.refresh = renewed.refresh or session.refresh
            return session.token

    def end(self, key: str) -> None:
        """Log out here."""
        with self._lock:
            self._sessions.pop(key, None)

    def _session(self, tokens: dict[str, Any]) -> _Session:
        token, refresh = tokens["access_token"], tokens.get("refresh_token")
        account = self.server.account(token)  # a token that does not count begins no session
        return _Session(token, refresh if isinstance(refresh, str) else None, account.expires)
