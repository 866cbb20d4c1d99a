"""Routes of the OHIF viewer: its files, and the state of the models for its status line."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response

from lib.access import GuardedRoute
from lib.dependencies import App
from monai_dgm.engines.overlay import DISCLAIMER

# the viewer compiles WebAssembly and styles elements; it must not connect to other servers, but for the login server
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self' data: blob: {login}; frame-src 'self' {login}; frame-ancestors 'self'"
)
PAGE_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}

router = APIRouter(route_class=GuardedRoute)


@router.api_route("/ohif", methods=["GET", "HEAD"])
def viewer_root() -> RedirectResponse:
    """The viewer's list of studies."""
    return RedirectResponse("/ohif/")


@router.api_route("/ohif/{path:path}", methods=["GET", "HEAD"])
def viewer_file(app: App, path: str) -> Response:
    """A file of the viewer, our configuration with the extension, or the viewer's page."""
    file = app.viewer.get(path)
    keep = "max-age=31536000, immutable" if file.lasting else "no-cache"
    policy = POLICY.format(login="" if app.access.server is None else app.access.server.origin)
    headers = {**PAGE_HEADERS, "Content-Security-Policy": policy, "Cache-Control": keep}
    return Response(file.content, media_type=file.media_type, headers=headers)


@router.get("/dgm/state")
def get_state(app: App) -> dict[str, Any]:
    """State and versions of the models, and the number of labelled images."""
    versions, batch = app.analysis.models.versions(), app.batches.last()
    busy = batch is not None and batch.status == "RUNNING"
    busy = busy or (app.watcher is not None and app.watcher.waiting > 0)
    images = app.datastore().list_images()
    labelled = app.submissions.labelled()
    return {
        "state": "no model" if versions["decomposer"] is None else "computing" if busy else "ready",
        "models": versions,
        "box_source": "saliency" if versions["detector"] is None else "detector",
        "images": len(images),
        "labelled": sum(name in labelled for name in images),
        "disclaimer": DISCLAIMER,
    }
