"""Routes of the OHIF viewer: its files, and what our extension asks for (boxes, pictures, state of the models)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response

from lib.access import CurrentUser, GuardedRoute
from lib.dependencies import App, Body, ImageId, reader_who_asks
from monai_dgm.engines.overlay import DISCLAIMER
from monai_dgm.labelling.labels.json_input import checked, parse_json
from monai_dgm.labelling.labels.reader_boxes import read_viewer_boxes
from monai_dgm.labelling.reading.queue import NextRequest
from monai_dgm.labelling.server.pictures import layer_png
from monai_dgm.labelling.server.submissions import label_of_reading

SOURCE = "ohif"
MAX_REQUEST_BYTES = 500_000
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


@router.get("/dgm/boxes")
def get_boxes(
    app: App, image: ImageId, user: CurrentUser, fresh: bool = False, despite_remark: bool = False, reader: str = ""
) -> dict[str, Any]:
    """The model's boxes of an image: those that the reader saw last, or new ones with ``fresh``; nothing is stored."""
    found = app.cases.model_boxes(image, reader_who_asks({"reader": reader}, user), fresh, despite_remark)
    return {"image": image, **found.as_dict(), **app.submissions.describe(image)}


@router.post("/dgm/boxes")
def show_boxes(
    app: App, image: ImageId, user: CurrentUser, fresh: bool = False, despite_remark: bool = False, reader: str = ""
) -> dict[str, Any]:
    """As GET, and store that the reader sees them: a later label says what the reader changed in them."""
    who = reader_who_asks({"reader": reader}, user)
    found = app.cases.show(image, who, fresh, despite_remark)
    own = app.cases.own_label(image, who)
    return {"image": image, **found.as_dict(), "own": own, **app.submissions.describe(image)}


@router.put("/dgm/boxes")
def put_boxes(app: App, image: ImageId, document: Body, user: CurrentUser, reader: str = "") -> dict[str, Any]:
    """Store a reader's boxes, or a confirmed negative, as the label of an image."""
    who = reader_who_asks({"reader": reader}, user)
    placement = app.analysis.placement(image)
    reading = read_viewer_boxes(document, placement)
    label = label_of_reading(reading, image, placement, who, SOURCE, app.submissions.shown(image, who))
    kept = app.submissions.keep(label, reading.ignored)
    app.on_save_label(image, image)
    return {
        "image": image,
        "reader": kept.label.reader,
        "status": kept.label.status,
        "boxes": [box.as_dict() for box in kept.label.boxes],
        "number": kept.number,
        "ignored": list(kept.ignored),
    }


@router.post("/dgm/next")
def next_case(app: App, document: Body, user: CurrentUser, reader: str = "") -> dict[str, Any]:
    """The case that the reader is offered next; empty where none is left."""
    request = checked(NextRequest, parse_json(document or b"{}", "next", MAX_REQUEST_BYTES), "next")
    return app.queue.next_case(reader_who_asks({"reader": reader}, user), request)


@router.get("/dgm/numbers")
def get_numbers(app: App, image: ImageId) -> dict[str, Any]:
    """Abnormality probability, residue burden, remarks, and the maps that can be laid over the image."""
    return app.cases.numbers(image)


@router.get("/dgm/layers/{name}")
def get_layer(app: App, name: str, image: ImageId) -> Response:
    """A map over the radiograph, one grey level a pixel, as PNG; the viewer colours it."""
    return Response(layer_png(app.analysis, image, name), media_type="image/png")


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
