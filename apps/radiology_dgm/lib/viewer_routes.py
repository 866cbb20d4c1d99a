"""Routes of the OHIF viewer: its files, and what our extension asks for (boxes, pictures, state of the models)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response

from lib.access import CurrentUser, GuardedRoute
from lib.dependencies import App, Body, ImageId, reader_who_asks
from monai_dgm.engines.overlay import DISCLAIMER
from monai_dgm.labelling.labels.image_label import LabelledBox
from monai_dgm.labelling.labels.reader_boxes import read_viewer_boxes
from monai_dgm.labelling.server.pictures import picture_png
from monai_dgm.labelling.server.submissions import label_of_reading
from monai_dgm.transforms.boxes import SAME_BOX_PIXELS
from monai_dgm.transforms.placement import Placement

SOURCE = "ohif"
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
def get_boxes(app: App, image: ImageId, user: CurrentUser, fresh: bool = False, reader: str = "") -> dict[str, Any]:
    """The model's boxes of an image: the stored ones, if there are any and ``fresh`` is false; else new ones."""
    who = reader_who_asks({"reader": reader}, user)
    placement = app.analysis.placement(image)
    shown = None if fresh else app.submissions.shown(image, who)
    if shown is not None and shown.size == (placement.rows, placement.cols):
        version = shown.model_version or ""
        app.submissions.remember(shown.boxes, image, placement, who, version)
        return _answer(app, image, placement, shown.boxes, version)
    params = app.answer({"model": "detect_opacities", "image": image}, who).params
    boxes = [LabelledBox.from_dict(values) for values in params["boxes"]]
    return _answer(app, image, placement, boxes, params["model_version"])


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


@router.get("/dgm/pictures/{name}")
def get_picture(app: App, name: str, image: ImageId) -> Response:
    """The normal image or the residue over the radiograph, as PNG that contains a warning."""
    return Response(picture_png(app.analysis, image, name), media_type="image/png")


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


def _answer(app: Any, image: str, placement: Placement, boxes: Sequence[LabelledBox], version: str) -> dict[str, Any]:
    return {
        "image": image,
        "rows": placement.rows,
        "cols": placement.cols,
        "boxes": [box.as_dict() for box in boxes],
        "same_box_pixels": SAME_BOX_PIXELS,
        "model_version": version,
        "box_source": "detector" if version.startswith("detector") else "saliency",
        **app.submissions.describe(image),
    }
