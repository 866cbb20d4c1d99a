"""Pages for browsers, without scripts: start page and list of addresses; and what MONAI Label's clients list."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import jinja2
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.routing import APIRoute

from lib.access import GuardedRoute, role_names
from lib.dependencies import App
from lib.rules import Role, rules_of

PAGES = Path(__file__).resolve().parent.parent / "pages"
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}

router = APIRouter(route_class=GuardedRoute)


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(PAGES), autoescape=True, trim_blocks=True)
    environment.filters["moment"] = lambda time: str(time)[:19].replace("T", " ")  # of a time in UTC
    return environment


def page(request: Request, template: str, **values: Any) -> HTMLResponse:
    """A page of the folder ``pages``."""
    known = {"user": request.state.user, "login": request.app.state.access.server is not None, "Role": Role}
    return HTMLResponse(_templates().get_template(template).render(**known, **values), headers=HEADERS)


@router.get("/", include_in_schema=False)
def start_page(request: Request, app: App) -> Response:
    """Where to go."""
    return page(request, "start.html", viewer=app.viewer.installed(), name=app.name)


@router.get("/docs", include_in_schema=False)
def addresses(request: Request) -> Response:
    """All addresses, and who may use them."""
    return page(request, "addresses.html", routes=list(_described(request)), roles=role_names())


@router.get("/dgm/page.css", include_in_schema=False)
def style() -> Response:
    """Style of the pages."""
    return Response((PAGES / "page.css").read_bytes(), media_type="text/css", headers={"cache-control": "max-age=600"})


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request) -> JSONResponse:
    """The addresses as OpenAPI."""
    return JSONResponse(request.app.openapi())


@router.get("/info/", include_in_schema=False)
@router.get("/info")
def info(app: App) -> dict[str, Any]:
    """Models, strategies and labels, as MONAI Label's clients read them."""
    values: dict[str, Any] = app.info()
    return values


@router.get("/datastore/", include_in_schema=False)
@router.get("/datastore")
def datastore(app: App, output: Literal["all", "train", "stats", ""] = "stats") -> Any:
    """The number of images and labels; all of them, or the labelled ones."""
    store = app.datastore()
    return {"all": store.json, "train": store.datalist}.get(output, store.status)()


def _described(request: Request) -> Iterator[dict[str, Any]]:
    for module_router in request.app.state.routers:
        for route in module_router.routes:
            if isinstance(route, APIRoute) and not route.path.endswith("/") and route.include_in_schema:
                methods = sorted(set(route.methods or ()) - {"HEAD"})
                rule = rules_of(route.path, set(methods))
                about = (route.description or "").split("\n\n")[0].replace("``", "")
                yield {"methods": ", ".join(methods), "path": route.path, "role": rule.role.label, "about": about}
