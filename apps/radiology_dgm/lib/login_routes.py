"""Routes of the login: what MONAI Label's clients ask for, and the login of a browser for pages (code flow, PKCE)."""

from __future__ import annotations

import re
import secrets
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from lib.access import Access, CurrentUser, GuardedRoute
from lib.dependencies import App, own_address
from lib.sessions import COOKIE_NAMES, PENDING_SECONDS, Sessions, cookie_name
from monai_dgm.labelling.server.http_errors import LoginError, UnknownError

STATE_COOKIES = ("__Host-monai-dgm-login", "monai-dgm-login")  # over TLS, and on this machine
_TARGET = re.compile(r"/(?![/\\])[\w.~!$&'()*+,;=:@%/?-]{0,2000}", re.ASCII)  # a page of this server

router = APIRouter(route_class=GuardedRoute)


@router.get("/auth/", include_in_schema=False)
@router.get("/auth")
def describe_login(request: Request) -> dict[str, Any]:
    """Whether users log in, and where."""
    server = _access(request).server
    if server is None:
        return {"enabled": False, "client_id": None, "realm": None}
    return {"enabled": True, "client_id": server.client, "realm": server.realm}


@router.post("/auth/token")
def token_for_password(
    request: Request,
    username: Annotated[str, Form()],
    password: Annotated[str, Form()],
    grant_type: str = Form("password"),
) -> JSONResponse:
    """A token for a name and a password, as 3D Slicer's panel asks for; the login server has to allow it."""
    server = _access(request).server
    if server is None:
        return JSONResponse({"access_token": None, "token_type": None})
    tokens = server.token({"grant_type": "password", "username": username, "password": password, "scope": "openid"})
    server.account(tokens["access_token"])
    return JSONResponse(
        {"access_token": tokens["access_token"], "token_type": "Bearer"}, headers={"cache-control": "no-store"}
    )


@router.get("/auth/token/valid")
def describe_user(user: CurrentUser) -> dict[str, Any]:
    """The user of the token."""
    account = user.account
    roles = list(account.roles) if account else []
    email, name = (account.email, account.full_name) if account else (None, None)
    return {"username": user.name, "email": email, "name": name, "roles": roles, "role": user.role.label}


@router.get("/login")
def begin_login(request: Request, app: App, to: str = "/") -> Response:
    """Send the browser to the login server's page."""
    sessions = _sessions(request)
    redirect = f"{own_address(request, app)}/login/callback"
    state, query = sessions.begin(redirect, to if _TARGET.fullmatch(to) else "/")
    answer = RedirectResponse(f"{sessions.server.address('authorization_endpoint')}?{urlencode(query)}", 302)
    _set_cookie(answer, _state_cookie(request, app), state, redirect, seconds=int(PENDING_SECONDS))
    return answer


@router.get("/login/callback")
def finish_login(request: Request, app: App, state: str = "", code: str = "") -> Response:
    """Where the login server sends the browser back to."""
    state_cookie = _state_cookie(request, app)
    held = request.cookies.get(state_cookie, "")
    if not held or not secrets.compare_digest(held.encode(), state.encode()):
        raise LoginError("this login did not begin in this browser; begin again")
    key, target = _sessions(request).finish(state, code)
    answer = RedirectResponse(target, 302)
    _set_cookie(answer, cookie_name(request.url.scheme), key, str(request.url))
    _delete_cookie(answer, state_cookie)
    return answer


@router.post("/logout")
def log_out(request: Request) -> Response:
    """End the browser's session."""
    answer = RedirectResponse("/", 303)
    access = _access(request)
    for name in COOKIE_NAMES:
        if access.sessions is not None and name in request.cookies:
            access.sessions.end(request.cookies[name])
            _delete_cookie(answer, name)
    return answer


def _state_cookie(request: Request, app: Any) -> str:
    return STATE_COOKIES[0 if own_address(request, app).startswith("https:") else 1]


def _set_cookie(answer: Response, name: str, value: str, address: str, seconds: int | None = None) -> None:
    secure = address.startswith("https:")
    answer.set_cookie(name, value, max_age=seconds, path="/", secure=secure, httponly=True, samesite="lax")


def _delete_cookie(answer: Response, name: str) -> None:
    answer.delete_cookie(name, path="/", secure=name.startswith("__Host-"), httponly=True)


def _access(request: Request) -> Access:
    access: Access = request.app.state.access
    return access


def _sessions(request: Request) -> Sessions:
    sessions = _access(request).sessions
    if sessions is None:
        raise UnknownError("users do not log in here")
    return sessions
