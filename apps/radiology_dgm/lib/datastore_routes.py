"""Routes for radiographs and their labels, one at a time; and all labels as one file, in and out."""

from __future__ import annotations

import hashlib
from pathlib import PurePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, UploadFile
from fastapi.responses import Response

from lib.access import CurrentUser, GuardedRoute
from lib.datastore import TAG
from lib.dependencies import App, Body, ImageId, ImageName, content_of, file_response, reader_who_asks, suffix_of
from monai_dgm.data.listing import without_suffix
from monai_dgm.labelling.labels.markups import MAX_DOCUMENT_BYTES
from monai_dgm.labelling.server.analysis_results import image_nifti
from monai_dgm.labelling.server.http_errors import UnknownError
from monai_dgm.labelling.server.label_transfer import export_labels, keep_all, parse_labels, size_in
from monai_dgm.labelling.server.request_options import parse_params

# a request to these may hold a radiograph
UPLOAD_PATHS = ("/datastore/image", "/datastore/", "/datastore")
UPLOAD_PATHS += tuple(f"/infer/{model}" for model in ("detect_opacities", "decompose", "classify"))
Tag = Literal["", "final"]  # the one tag that there is

router = APIRouter(route_class=GuardedRoute)


@router.api_route("/datastore/image", methods=["GET", "HEAD"])
def get_image(app: App, image: ImageId, check_sum: str = "") -> Response:
    """A radiograph as NIfTI."""
    name = app.datastore().get_image_info(image)["name"]
    content = image_nifti(app.analysis, image)
    if check_sum and check_sum.split(":")[-1].lower() != hashlib.sha256(content).hexdigest():
        raise UnknownError("image: there is no image of that id and checksum")
    return file_response(name, content)


@router.get("/datastore/image/info")
def get_image_info(app: App, image: ImageId) -> dict[str, Any]:
    """Name, time and size of a radiograph, and its UIDs in an archive."""
    placement = app.analysis.placement(image)
    return {**app.datastore().get_image_info(image), "rows": placement.rows, "cols": placement.cols}


@router.put("/datastore/", include_in_schema=False)
@router.put("/datastore", include_in_schema=False)
@router.put("/datastore/image")
def put_image(
    app: App,
    file: Annotated[UploadFile, File()],
    image: str = "",
    params: Annotated[str, Form()] = "{}",
) -> dict[str, str]:
    """Add a radiograph to the studies; an id that exists already is refused."""
    parse_params(params)
    studies = app.analysis.studies
    name = PurePath(file.filename or "").name
    image_id = image or without_suffix(name)
    studies.add(image_id, content_of(file, studies.max_bytes, "file"), suffix_of(name))
    return {"image": image_id}


@router.put("/datastore/label")
def put_label(
    app: App,
    image: ImageId,
    user: CurrentUser,
    label: Annotated[UploadFile, File()],
    tag: Tag = "",
    params: Annotated[str, Form()] = "{}",
) -> dict[str, Any]:
    """Store a reader's markups as the label of an image. A document without boxes is a confirmed negative."""
    reader = reader_who_asks(parse_params(params), user)
    placement = app.analysis.placement(image)
    kept = app.submissions.submit(content_of(label, MAX_DOCUMENT_BYTES, "label"), image, placement, reader)
    app.on_save_label(image, image)
    return {
        "image": image,
        "label": image,
        "reader": kept.label.reader,
        "status": kept.label.status,
        "boxes": len(kept.label.boxes),
        "number": kept.number,
        "ignored": list(kept.ignored),
    }


@router.api_route("/datastore/label", methods=["GET", "HEAD"])
def get_label(app: App, label: str = "", image: str = "", tag: Tag = "") -> Response:
    """The latest label of an image as markups; MONAI Label names the image "label" in GET and "image" in HEAD."""
    found = app.datastore().get_label(label or image, TAG)
    if found is None:
        raise UnknownError("label: this image has no label")
    return file_response("label.json", found.getvalue())


@router.get("/datastore/label/info")
def get_label_info(app: App, label: ImageName, tag: Tag = "") -> dict[str, Any]:
    """The readers who labelled an image."""
    return app.datastore().get_label_info(app.analysis.studies.find(label).image_id, TAG)


@router.get("/dgm/labels")
def get_labels(app: App, form: Literal["coco", "rsna", "json"] = "coco", readers: str = "consensus") -> Response:
    """All current labels as COCO's JSON, the RSNA challenge's CSV, or our own JSON."""
    export = export_labels(app.submissions, form, readers)
    headers = {
        "content-disposition": f'attachment; filename="{export.name}"',
        "cache-control": "no-store",
        "x-dgm-images": str(export.images),
        "x-dgm-left-out": str(len(export.left_out)),
    }
    return Response(export.content, media_type=export.media_type, headers=headers)


@router.put("/dgm/labels")
def put_labels(app: App, form: Literal["coco", "rsna"], reader: str, document: Body) -> dict[str, Any]:
    """Store the labels in a file as those of a reader: all of them, or none when one is wrong."""
    labels = parse_labels(document, form, reader, lambda image_id: size_in(app.analysis, image_id))
    done = keep_all(labels, app.submissions)
    return {"images": done.images, "added": done.added, "unchanged": done.unchanged, "reader": labels[0].reader}
