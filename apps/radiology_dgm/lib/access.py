"""The check of each request, before its body is read, by the roles and the table of :mod:`lib.rules`.

What concerns a radiograph or a label is written to the audit log before it is done. Where users log in, each request
has a user with a role; where they do not, whoever reaches the server (this machine alone) is the administrator.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from monailabel.config import settings
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from lib.login import Account, LoginServer
from lib.metrics import Metrics
from lib.rules import Role, Rule, rules_of
from lib.sessions import Sessions, cookie_name
from monai_dgm.errors import InputError
from monai_dgm.labelling.server.audit_log import AuditLog
from monai_dgm.labelling.server.http_errors import ForbiddenError, LoginError, status_of

logger = logging.getLogger(__name__)

SAFE_METHODS = ("GET", "HEAD")


@dataclass(frozen=True)
class User:
    """Whoever sends a request.

    Attributes:
        name: of the login; None where users do not log in.
        role: what the user may do.
        account: from the token; None where users do not log in.
    """

    name: str | None
    role: Role
    account: Account | None = None


ANYBODY = User(None, Role.ADMINISTRATOR)  # where users do not log in
NOBODY = User(None, Role.NOBODY)


def role_names() -> dict[Role, str]:
    """How the login server calls the roles."""
    return {
        Role.READER: settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR,
        Role.REVIEWER: settings.MONAI_LABEL_AUTH_ROLE_REVIEWER,
        Role.ANNOTATOR_ADMIN: f"{settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR}-admin",
        Role.ADMINISTRATOR: settings.MONAI_LABEL_AUTH_ROLE_ADMIN,
    }


def role_of(account: Account) -> Role:
    """The highest role of an account."""
    return max((role for role, name in role_names().items() if name in account.roles), default=Role.NOBODY)


class Access:
    """The check of requests.

    Args:
        server: of the logins; None where users do not log in.
        sessions: of browsers that logged in on a page of ours.
        audit: the log of who did what.
    """

    def __init__(self, server: LoginServer | None, sessions: Sessions | None, audit: AuditLog) -> None:
        self.server = server
        self.audit = audit
        self.sessions = sessions

    def user_of(self, request: Request) -> User:
        """The user by the token in the header, else by the session in the cookie; NOBODY without both.

        Raises:
            LoginError: a token or a session that does not count.
            ForbiddenError: a page of another origin may have sent a session's request.
        """
        if self.server is None:
            return ANYBODY
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind:
            if kind.lower() != "bearer" or not token.strip():
                raise LoginError("expected the header Authorization: Bearer, with a token")
            return self._user(token.strip())
        key = request.cookies.get(cookie_name(request.url.scheme))
        if key is None or self.sessions is None:
            return NOBODY
        if request.method not in SAFE_METHODS and not {"origin", "sec-fetch-site"} & set(request.headers):
            raise ForbiddenError("expected a request that tells its origin, as browsers do")
        held = self.sessions.token(key)
        return NOBODY if held is None else self._user(held)

    def admit(self, request: Request, rule: Rule, route: str) -> tuple[User, int | None]:
        """The user of a request that is allowed, and the number of its line in the audit log, which awaits an outcome.

        Raises:
            LoginError: nobody has logged in.
            ForbiddenError: the user's role is too low.
            OSError: the audit log cannot be written.
        """
        try:
            user = self.user_of(request)
        except LoginError:
            if rule.role is not Role.NOBODY:
                raise
            user = NOBODY
        if rule.role is not Role.NOBODY and user is NOBODY:
            raise LoginError("log in first")
        about = _about(request, self.audit)
        if user.role < rule.role:
            self.audit.add_once("denied", user.name, route, about)
            raise ForbiddenError(f"expected a user with the role {rule.role.label} ({role_names()[rule.role]})")
        if rule.event in ("view", "export"):
            self.audit.add_once(rule.event, user.name, route, about)
        elif rule.event is not None:
            return user, self.audit.add(rule.event, user.name, about, route=route)
        return user, None

    def tell_outcome(self, user: User, number: int, status: int) -> None:
        """Write the answer's status behind a line; what was done is in the log already where this fails."""
        try:
            self.audit.add("outcome", user.name, of=number, status=status)
        except OSError as error:
            logger.error("audit log: %s", type(error).__name__)

    def _user(self, token: str) -> User:
        assert self.server is not None
        account = self.server.account(token)
        return User(account.name, role_of(account), account)


class GuardedRoute(APIRoute):
    """A route that checks who asks before it reads the request's body."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, behind the check."""
        handle, rule = super().get_route_handler(), rules_of(self.path, set(self.methods or ()))

        async def guarded(request: Request) -> Response:
            metrics: Metrics = request.app.state.metrics
            with metrics.timed(f"{request.method} {self.path}") as timed:
                timed.status = 500
                try:
                    answer = await checked(request)
                    timed.status = answer.status_code
                    return answer
                except Exception as error:
                    timed.status = _status_of(error)
                    raise

        async def checked(request: Request) -> Response:
            access: Access = request.app.state.access
            route = f"{request.method} {self.path}"
            request.state.user, number = await run_in_threadpool(access.admit, request, rule, route)
            if number is None:
                return await handle(request)
            status = 500
            try:
                answer = await handle(request)
                status = answer.status_code
                return answer
            except Exception as error:
                status = _status_of(error)
                raise
            finally:
                await run_in_threadpool(access.tell_outcome, request.state.user, number, status)

        return guarded


def _about(request: Request, audit: AuditLog) -> str | None:
    """The radiograph or the study of a request, as the audit log writes it; None where it names none.

    Raises:
        InputError: a request that names two: the log would not say which of them is meant.
    """
    study = request.path_params.get("study")
    path = str(request.path_params.get("path", "")).split("/")
    if study is None and "dicom-web" in request.url.path and len(path) > 1 and path[0] == "studies":
        study = path[1]
    if study:  # whatever the query says
        return audit.code_of("study", str(study))
    named = {request.query_params[name] for name in ("image", "label") if request.query_params.get(name)}
    if len(named) > 1:
        raise InputError("expected one image, got image and label")
    folder = request.app.state.label_app.folder  # its radiographs have an id and a UID
    images = [(folder.image_of(name) if folder is not None else None) or name for name in named]
    return audit.code_of("image", images[0]) if images else None


def _status_of(error: Exception) -> int:
    if isinstance(error, InputError):
        return status_of(error)
    if isinstance(error, RequestValidationError):
        return 422
    return error.status_code if isinstance(error, HTTPException) else 500


def user_of_request(request: Request) -> User:
    """The user, whom :class:`GuardedRoute` found."""
    user: User = request.state.user
    return user


CurrentUser = Annotated[User, Depends(user_of_request)]
