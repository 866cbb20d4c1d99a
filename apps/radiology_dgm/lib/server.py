"""How the app stands in the platform's server, without a fork of it.

The platform builds its web application, then loads the app while that starts. So the app puts itself in front of it:
`RequestGuard` first (who, what, how much, errors in one line), then our routes in the place of the platform's of the
same address, then the platform. The platform's web application is `monailabel.app.app`; Starlette looks up its
`middleware_stack` at every request.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from typing import Any, NoReturn

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from monailabel.config import settings
from monailabel.interfaces.exception import MONAILabelException

from lib import archive_routes, exchange_routes, routes, training_routes, viewer_routes
from monai_dgm.errors import InputError, in_one_line
from monai_dgm.labelling.server.http_errors import ForbiddenError, answer_to, status_of
from monai_dgm.labelling.server.request_guard import GuardPolicy, RequestGuard, is_loopback
from monai_dgm.labelling.server.studies import MAX_FILE_BYTES

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
OURS = [archive_routes, exchange_routes, routes, training_routes, viewer_routes]  # each with `router`, ROUTES
# what of the platform is served: nothing that takes paths, weights or archives, and no log
PLATFORM = [
    ("GET", "/"),
    ("GET", "/(docs|openapi.json|favicon.ico)"),
    ("GET", "/info/?"),
    ("GET", "/datastore/?"),
    ("GET DELETE", "/scoring/?"),
    ("GET", "/auth/?"),
    ("POST", "/auth/token"),
    ("GET", "/auth/token/valid"),
]


def install(app: Any) -> None:
    """Put the app in front of the platform's web application, where there is one in this process."""
    platform = sys.modules.get("monailabel.app")
    if platform is None:  # a background process
        return
    own = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    own.state.labelling = app
    for module in OURS:
        own.include_router(module.router)
    own_routes = [route for module in OURS for route in module.ROUTES]
    for web in (own, platform.app):
        web.add_exception_handler(RequestValidationError, _on_wrong_fields)
        web.add_exception_handler(InputError, _on_refusal)
        web.add_exception_handler(MONAILabelException, _on_platform_error)
    policy = GuardPolicy.of(
        [*own_routes, *PLATFORM],
        authenticated=bool(settings.MONAI_LABEL_AUTH_ENABLE),
        uploads=("/datastore/image", "/datastore/", "/datastore"),
        max_upload_bytes=MAX_FILE_BYTES + 1_000_000,
    )
    platform.app.middleware_stack = RequestGuard(
        _Dispatch(own, GuardPolicy.of(own_routes), platform.app.build_middleware_stack()), policy
    )


class _Dispatch:
    """Our routes to our application, all else to the platform's."""

    def __init__(self, own: Any, policy: GuardPolicy, platform: Any) -> None:
        self.own = own
        self.policy = policy
        self.platform = platform

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        ours = scope["type"] == "http" and any(
            scope["method"] in methods and pattern.fullmatch(scope["path"]) for methods, pattern in self.policy.routes
        )
        await (self.own if ours else self.platform)(scope, receive, send)


async def _on_wrong_fields(request: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]  # its "input" holds what came in: left out
    place = ".".join(str(part) for part in first.get("loc", ())[1:2])
    return JSONResponse({"detail": f"{place or 'request'}: {first.get('msg', 'cannot be read')}"}, status_code=422)


async def _on_refusal(request: Request, error: InputError) -> JSONResponse:
    return JSONResponse({"detail": answer_to(error)}, status_code=status_of(error))


async def _on_platform_error(request: Request, error: MONAILabelException) -> JSONResponse:
    return JSONResponse({"detail": f"the platform refused it ({error.error.value})"}, status_code=400)


def check_address() -> None:
    """Listen on this machine alone, unless users have to log in.

    The platform listens everywhere when --host is not given; it is then made to listen on loopback.

    Raises:
        ForbiddenError: another --host without MONAI_LABEL_AUTH_ENABLE.
    """
    if settings.MONAI_LABEL_AUTH_ENABLE or not _started_by_the_platform():
        return
    wanted = "expected --host 127.0.0.1, or users that log in (MONAI_LABEL_AUTH_ENABLE=true)"
    configs = [thing for thing in gc.get_objects() if type(thing) is uvicorn.Config]
    given = any(argument.startswith(("-i", "--ho")) for argument in sys.argv[1:])
    for config in configs:
        if not given and config.workers in (None, 1):
            config.host = LOOPBACK  # uvicorn binds after the application has started
        elif not is_loopback(config.host):
            raise ForbiddenError(f"{wanted}; the server would listen on {config.host}")
    if not configs:
        raise ForbiddenError(f"{wanted}; the address that the server listens on is not known")


def refuse_to_start(error: Exception) -> None:
    """End the server in one line, where the platform's command runs it; else the caller raises."""
    if _started_by_the_platform():
        _end(in_one_line(error))


def _end(reason: str) -> NoReturn:
    print(f"radiology_dgm: {reason}", file=sys.stderr, flush=True)
    os._exit(2)  # an exception would end as a traceback of the web server; nothing is under way yet


def _started_by_the_platform() -> bool:
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    return main is not None and main.name == "monailabel.main"
