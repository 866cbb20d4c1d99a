"""How the app is served: its routes, the few routes of MONAI Label that stay, the checks of requests, and errors.

MONAI Label makes its web application first and loads the app while that starts. The app then replaces the
application's middleware stack, which Starlette looks up at each request: requests go to a FastAPI application of our
own, and the routes in :data:`MONAI_LABEL_ROUTES` are passed on to MONAI Label. Everything else that MONAI Label offers
(it takes paths, weights and archives, and shows logs) has no address here.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import JSONResponse
from monailabel.config import settings
from monailabel.interfaces.exception import MONAILabelException
from starlette.middleware import Middleware
from starlette.routing import Route

from lib import archive_routes, datastore_routes, inference_routes, training_routes, viewer_routes
from monai_dgm.errors import InputError, in_one_line
from monai_dgm.labelling.server.http_errors import ForbiddenError, answer_to, status_of
from monai_dgm.labelling.server.request_guard import RequestGuard, is_loopback
from monai_dgm.labelling.server.request_options import describe_errors
from monai_dgm.labelling.server.studies import MAX_FILE_BYTES

ROUTES = (archive_routes, datastore_routes, inference_routes, training_routes, viewer_routes)
MONAI_LABEL_ROUTES = {
    "/": ["GET"],
    "/docs": ["GET"],
    "/openapi.json": ["GET"],
    "/favicon.ico": ["GET"],
    "/info": ["GET"],
    "/info/": ["GET"],
    "/datastore": ["GET"],
    "/datastore/": ["GET"],
    "/scoring": ["GET", "DELETE"],
    "/scoring/": ["GET", "DELETE"],
    "/auth": ["GET"],
    "/auth/": ["GET"],
    "/auth/token": ["POST"],
    "/auth/token/valid": ["GET"],
}
LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
ASGI = Callable[[Any, Any, Any], Awaitable[None]]


class MONAILabelApplication:
    """MONAI Label's own web application, as it was before the app replaced its middleware stack.

    Args:
        application: MONAI Label's.
        stack: its own middleware stack.
    """

    def __init__(self, application: FastAPI, stack: ASGI) -> None:
        self.application = application
        self.stack = stack

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle a connection; values that our own router added to it are removed."""
        ours = ("router", "endpoint", "route", "path_params")
        plain = {name: value for name, value in scope.items() if name not in ours}
        await self.stack({**plain, "app": self.application}, receive, send)


def install(app: Any) -> None:
    """Serve the app instead of MONAI Label's web application, where this process has one."""
    module = sys.modules.get("monailabel.app")
    if module is None:  # a background process
        return
    for kind, handler in ERROR_HANDLERS.items():
        module.app.add_exception_handler(kind, handler)
    monai_label = MONAILabelApplication(module.app, module.app.build_middleware_stack())
    own = make_application(app, monai_label)

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        await (monai_label if scope["type"] == "lifespan" else own)(scope, receive, send)

    module.app.middleware_stack = serve


def make_application(app: Any, monai_label: ASGI) -> FastAPI:
    """The web application: our routes, and those of MONAI Label that stay."""
    authenticated = bool(settings.MONAI_LABEL_AUTH_ENABLE)
    guard = Middleware(
        RequestGuard,
        authenticated=authenticated,
        upload_paths=datastore_routes.UPLOAD_PATHS,
        max_upload_bytes=MAX_FILE_BYTES + 1_000_000,
    )
    hosts = ["*"] if authenticated else list(LOCAL_HOSTS)  # another name that leads here is DNS rebinding
    own = FastAPI(
        openapi_url=None,
        redirect_slashes=False,
        middleware=[guard, Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)],
        exception_handlers=ERROR_HANDLERS,
    )
    own.state.label_app = app
    for module in ROUTES:
        own.include_router(module.router)
    for path, methods in MONAI_LABEL_ROUTES.items():
        own.router.routes.append(Route(path, monai_label, methods=[*methods, "OPTIONS"]))  # CORS is MONAI Label's
    return own


async def _on_invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
    return JSONResponse({"detail": describe_errors(error.errors(), skip=1)}, status_code=422)


async def _on_input_error(request: Request, error: InputError) -> JSONResponse:
    return JSONResponse({"detail": answer_to(error)}, status_code=status_of(error))


async def _on_monai_label_error(request: Request, error: MONAILabelException) -> JSONResponse:
    return JSONResponse({"detail": f"MONAI Label refused it ({error.error.value})"}, status_code=400)


ERROR_HANDLERS: dict[Any, Any] = {
    RequestValidationError: _on_invalid_request,
    InputError: _on_input_error,
    MONAILabelException: _on_monai_label_error,
}


def check_address() -> None:
    """Check that the server listens on this machine alone, unless users have to log in.

    Raises:
        ForbiddenError: it would listen on another address; MONAI Label does where --host is not given.
    """
    if settings.MONAI_LABEL_AUTH_ENABLE or not _started_by_monai_label():
        return
    parser = argparse.ArgumentParser(add_help=False)  # of MONAI Label's arguments the one that matters here
    parser.add_argument("-i", "--host", default="0.0.0.0")
    host = parser.parse_known_args(sys.argv[1:])[0].host
    if not is_loopback(host):
        raise ForbiddenError(
            "expected --host 127.0.0.1, or users that log in (MONAI_LABEL_AUTH_ENABLE=true); "
            f"the server would listen on {host}"
        )


def refuse_to_start(error: Exception) -> None:
    """End the server with one line where MONAI Label's command runs it; else do nothing, and the caller raises."""
    if _started_by_monai_label():
        _end(in_one_line(error))


def _end(reason: str) -> NoReturn:
    print(f"radiology_dgm: {reason}", file=sys.stderr, flush=True)
    os._exit(2)  # an exception would end as a traceback of the web server; nothing has begun yet


def _started_by_monai_label() -> bool:
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    return main is not None and main.name == "monailabel.main"
