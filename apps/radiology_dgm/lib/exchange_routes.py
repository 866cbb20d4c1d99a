"""Labels for other programs and from them, in one request each."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from monailabel.endpoints.user.auth import User

from lib.routes import ADMIN, ANY_USER, app_of
from monai_dgm.labelling.server.label_transfer import export_labels, keep_all, parse_labels, size_in

ROUTES = [("GET PUT", "/dgm/labels")]

router = APIRouter()


async def _body(request: Request) -> bytes:
    return await request.body()


BODY = Depends(_body)


@router.get("/dgm/labels")
def get_labels(request: Request, form: str = "coco", readers: str = "consensus", user: User = ANY_USER) -> Response:
    """The current labels as COCO's JSON, the RSNA challenge's CSV, or our own JSON."""
    export = export_labels(app_of(request).submissions, form, readers)
    headers = {
        "content-disposition": f'attachment; filename="{export.name}"',
        "cache-control": "no-store",
        "x-dgm-images": str(export.images),
        "x-dgm-left-out": str(len(export.left_out)),
    }
    return Response(export.content, media_type=export.media_type, headers=headers)


@router.put("/dgm/labels")
def put_labels(request: Request, form: str, reader: str, document: bytes = BODY, user: User = ADMIN) -> dict[str, Any]:
    """Keep the labels of a file as those of a reader: all of them, or none when one is wrong."""
    app = app_of(request)
    labels = parse_labels(document, form, reader, lambda image_id: size_in(app.analysis, image_id))
    done = keep_all(labels, app.submissions)
    return {"images": done.images, "added": done.added, "unchanged": done.unchanged, "reader": labels[0].reader}
