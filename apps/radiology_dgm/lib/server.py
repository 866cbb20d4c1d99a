"""How the app is served: its routes, the checks of requests, and errors.

MONAI Label makes its web application first and loads the app while that starts. The app then replaces the
application's middleware stack, which Starlette looks up at each request: all requests go to a FastAPI application of
our own. What else MONAI Label offers (it takes paths, weights and archives, and shows logs) has no address here.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import psutil
from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import JSONResponse, Response
from monailabel.config import settings
from monailabel.interfaces.exception import MONAILabelException
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware import Middleware

from lib import (
    admin_routes,
    archive_routes,
    datastore_routes,
    inference_routes,
    login_routes,
    page_routes,
    reading_routes,
    training_routes,
    viewer_routes,
)
from lib.metrics import Metrics
from monai_dgm import __version__
from monai_dgm.errors import InputError, in_one_line
from monai_dgm.labelling.server.http_errors import ForbiddenError, LoginError, answer_to, status_of
from monai_dgm.labelling.server.request_guard import DISK_FULL, FULL, RequestGuard, is_loopback
from monai_dgm.labelling.server.request_options import describe_errors
from monai_dgm.labelling.server.studies import MAX_FILE_BYTES

ROUTES = (
    page_routes,
    login_routes,
    admin_routes,
    archive_routes,
    datastore_routes,
    inference_routes,
    training_routes,
    reading_routes,
    viewer_routes,
)


def install(app: Any) -> None:
    """Serve the app instead of MONAI Label's web application, where this process has one."""
    module = sys.modules.get("monailabel.app")
    if module is None:  # a background process
        return
    monai_label = module.app.build_middleware_stack()
    own = make_application(app)

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        await (monai_label if scope["type"] == "lifespan" else own)(scope, receive, send)

    module.app.middleware_stack = serve


def make_application(app: Any) -> FastAPI:
    """The web application."""
    guard = Middleware(
        RequestGuard,
        authenticated=app.access.server is not None,
        upload_paths=datastore_routes.UPLOAD_PATHS,
        max_upload_bytes=MAX_FILE_BYTES + 1_000_000,
    )
    own = FastAPI(
        title="monai-dgm",
        version=__version__,
        openapi_url=None,
        redirect_slashes=False,
        middleware=[guard, Middleware(TrustedHostMiddleware, allowed_hosts=app.hosts, www_redirect=False)],
        exception_handlers=ERROR_HANDLERS,
    )
    own.state.label_app = app
    own.state.access = app.access
    own.state.metrics = Metrics(app)
    own.state.routers = [module.router for module in ROUTES]
    for router in own.state.routers:
        own.include_router(router)
    return own


async def _on_invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
    return JSONResponse({"detail": describe_errors(error.errors(), skip=1)}, status_code=422)


async def _on_input_error(request: Request, error: InputError) -> JSONResponse:
    headers = {"www-authenticate": "Bearer"} if isinstance(error, LoginError) else None
    return JSONResponse({"detail": answer_to(error)}, status_code=status_of(error), headers=headers)


async def _on_refusal(request: Request, error: StarletteHTTPException) -> Response:
    cause = error.__cause__ or error.__context__
    if isinstance(cause, OSError) and cause.errno in FULL:  # while FastAPI put a part of the body aside
        return JSONResponse({"detail": DISK_FULL}, status_code=507)
    return await http_exception_handler(request, error)


async def _on_monai_label_error(request: Request, error: MONAILabelException) -> JSONResponse:
    return JSONResponse({"detail": f"MONAI Label refused it ({error.error.value})"}, status_code=400)


ERROR_HANDLERS: dict[Any, Any] = {
    RequestValidationError: _on_invalid_request,
    InputError: _on_input_error,
    StarletteHTTPException: _on_refusal,
    MONAILabelException: _on_monai_label_error,
}


def check_address() -> None:
    """Check that the server listens on this machine alone, unless users log in and nobody on the way reads along.

    Raises:
        ForbiddenError: it would listen on another address; MONAI Label does where --host is not given.
    """
    if not _started_by_monai_label():
        return
    parser = argparse.ArgumentParser(add_help=False)  # of MONAI Label's arguments those that matter here
    parser.add_argument("-i", "--host", default="0.0.0.0")
    parser.add_argument("--ssl_certfile", default=None)
    given = parser.parse_known_args(sys.argv[1:])[0]
    if is_loopback(given.host):
        return
    if not settings.MONAI_LABEL_AUTH_ENABLE:
        raise ForbiddenError(
            "expected --host 127.0.0.1, or users that log in (MONAI_LABEL_AUTH_ENABLE=true); "
            f"the server would listen on {given.host}"
        )
    if given.ssl_certfile is None:
        raise ForbiddenError(
            "expected --host 127.0.0.1 behind a proxy with TLS, or --ssl_certfile and --ssl_keyfile; "
            f"tokens would pass unencrypted to {given.host}"
        )


def check_studies(studies: str) -> None:
    """Check that a folder of studies was there before the server: MONAI Label makes a new one of a mistyped name.

    Raises:
        InputError: it was not; it is removed again.
    """
    folder = Path(studies)
    if not _started_by_monai_label() or not folder.is_dir() or any(folder.iterdir()):
        return
    started = psutil.Process().create_time()
    if folder.stat().st_ctime > started + 0.5:  # it takes longer to get to where MONAI Label makes the folder
        folder.rmdir()
        raise InputError(f"--studies: expected a folder of radiographs, got one that does not exist: {folder}")


def check_one_process() -> None:
    """Check that this is the only process of the server.

    Raises:
        ForbiddenError: it is one of several workers. Each would send results, train, and keep labels in memory.
    """
    if _started_by_monai_label() and multiprocessing.parent_process() is not None:
        raise ForbiddenError("expected one process (--workers 1); it serves many readers by threads")


def refuse_to_start(error: Exception) -> None:
    """End the server with one line where MONAI Label's command runs it; else do nothing, and the caller raises."""
    if _started_by_monai_label():
        _end(in_one_line(error))


def _end(reason: str) -> NoReturn:
    print(f"radiology_dgm: {reason}", file=sys.stderr, flush=True)
    if multiprocessing.parent_process() is not None:  # a worker: the web server would start new ones for ever
        os.kill(os.getppid(), signal.SIGTERM)
    os._exit(2)  # an exception would end as a traceback of the web server; nothing has begun yet


def _started_by_monai_label() -> bool:
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    return main is not None and main.name == "monailabel.main"
