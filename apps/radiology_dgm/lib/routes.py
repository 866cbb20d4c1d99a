"""The platform's routes that take names, files or options from outside, served by us to the same contract.

They are plain functions, so that a model that runs does not keep other requests waiting.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import PurePath
from typing import Any

from fastapi import APIRouter, Depends, File, Form, Request, UploadFile
from fastapi.responses import JSONResponse, Response
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User
from requests_toolbelt import MultipartEncoder

from lib.datastore import TAG
from monai_dgm.data.listing import SUFFIXES
from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.markups import MAX_DOCUMENT_BYTES
from monai_dgm.labelling.server.analysis_results import MAPS, Answer, decompose, image_nifti
from monai_dgm.labelling.server.http_errors import TooLargeError, UnknownError
from monai_dgm.labelling.server.requests import known_name, parse_params, reader_of

# ours, by method and path: everything else goes to the platform
ROUTES = [
    ("POST", "/infer/[^/]*"),
    ("GET HEAD PUT", "/datastore/image"),
    ("PUT", "/datastore/?"),
    ("GET", "/datastore/(image|label)/info"),
    ("GET HEAD PUT", "/datastore/label"),
    ("POST", "/activelearning/[^/]*"),
    ("GET DELETE", "/batch/infer/?"),
    ("POST", "/batch/infer/[^/]*"),
    ("GET", "/dgm/maps/[^/]*"),
]
OUTPUTS = ("all", "json", "image")
MEDIA_TYPES = {".json": "application/json", ".png": "image/png", ".gz": "application/gzip"}

router = APIRouter()
ANY_USER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
IMAGE_FILE, LABEL_FILE, NO_FILE = File(...), File(...), File(None)  # each is for one name
ADMIN = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))
ANNOTATOR = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))


def app_of(request: Request) -> Any:
    """The app that the server runs."""
    return request.app.state.labelling


@router.post("/infer/{model}")
def infer(
    request: Request,
    model: str,
    image: str = "",
    session_id: str = "",
    output: str = "all",
    params: str = Form("{}"),
    file: UploadFile | None = NO_FILE,
    user: User = ANY_USER,
) -> Response:
    """Run a model on an image of the studies."""
    if session_id or file is not None:
        raise InputError("expected an image of the studies; add others by PUT /datastore/image")
    known_name(output or "all", OUTPUTS, "an output")
    options = parse_params(params)
    reader = reader_of(options, login_of(user))
    start = time.perf_counter()
    answer: Answer = app_of(request).answer({**options, "model": model, "image": image}, reader)
    answer.params["latency"] = round(time.perf_counter() - start, 4)
    return _response(answer, output or "all")


def _response(answer: Answer, output: str) -> Response:
    """The platform's forms of an answer. Without a file the panel needs a multipart of figures alone, or it fails."""
    if output == "json" or (output == "all" and answer.name is None and "boxes" not in answer.params):
        return JSONResponse(answer.params)
    if output == "image":
        if answer.name is None:
            raise UnknownError("there is no file in this answer")
        return Response(answer.content, media_type=_media_type(answer.name), headers=_named(answer.name))
    fields: dict[str, Any] = {"params": (None, json.dumps(answer.params), "application/json")}
    if answer.name is not None:
        fields["image"] = (answer.name, answer.content, _media_type(answer.name))
    message = MultipartEncoder(fields=fields)
    return Response(message.to_string(), media_type=message.content_type)


@router.api_route("/datastore/image", methods=["GET", "HEAD"])
def get_image(request: Request, image: str, check_sum: str = "", user: User = ANY_USER) -> Response:
    """A radiograph as NIfTI."""
    app = app_of(request)
    name = app.datastore().get_image_info(image)["name"]
    content = image_nifti(app.analysis, image)
    if check_sum and check_sum.split(":")[-1].lower() != hashlib.sha256(content).hexdigest():
        raise UnknownError("image: there is none of that id and checksum")
    return Response(content, media_type="application/gzip", headers=_named(name))


@router.get("/datastore/image/info")
def get_image_info(request: Request, image: str, user: User = ANY_USER) -> dict[str, Any]:
    """What is known of a radiograph."""
    app = app_of(request)
    placement = app.analysis.placement(image)
    return {**app.datastore().get_image_info(image), "rows": placement.rows, "cols": placement.cols}


@router.put("/datastore/", include_in_schema=False)
@router.put("/datastore", include_in_schema=False)
@router.put("/datastore/image")
def put_image(
    request: Request, image: str = "", params: str = Form("{}"), file: UploadFile = IMAGE_FILE, user: User = ANNOTATOR
) -> dict[str, str]:
    """Add a radiograph to the studies; an id that is there already is refused."""
    parse_params(params)
    studies = app_of(request).analysis.studies
    name = PurePath(file.filename or "").name.lower()
    suffix = next((known for known in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(known)), "")
    image_id = image or PurePath(file.filename or "").name[: len(name) - len(suffix)]
    studies.add(image_id, _content(file, studies.max_bytes, "file"), suffix)
    return {"image": image_id}


@router.put("/datastore/label")
def put_label(
    request: Request,
    image: str,
    tag: str = "",
    params: str = Form("{}"),
    label: UploadFile = LABEL_FILE,
    user: User = ANNOTATOR,
) -> dict[str, Any]:
    """Keep a reader's markups as the label of an image. An empty document is a confirmed negative."""
    _check_tag(tag)
    app, reader = app_of(request), reader_of(parse_params(params), login_of(user))
    placement = app.analysis.placement(image)
    kept = app.submissions.submit(_content(label, MAX_DOCUMENT_BYTES, "label"), image, placement, reader)
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
def get_label(request: Request, label: str = "", image: str = "", tag: str = "", user: User = ANY_USER) -> Response:
    """The latest label of an image as markups; the platform names the image "label" in GET and "image" in HEAD."""
    _check_tag(tag)
    found = app_of(request).datastore().get_label(label or image, TAG)
    if found is None:
        raise UnknownError("label: there is none of that image")
    return Response(found.getvalue(), media_type="application/json", headers=_named("label.json"))


@router.get("/datastore/label/info")
def get_label_info(request: Request, label: str, tag: str = "", user: User = ANY_USER) -> dict[str, Any]:
    """Who labelled an image."""
    _check_tag(tag)
    app = app_of(request)
    return app.datastore().get_label_info(app.analysis.studies.find(label).image_id, TAG)


@router.post("/activelearning/{strategy}")
def next_image(
    request: Request, strategy: str, params: dict[str, Any] | None = None, user: User = ANY_USER
) -> dict[str, Any]:
    """The image to read next; empty where all are labelled."""
    app = app_of(request)
    known_name(strategy, app._strategies, "a strategy")
    found = app._strategies[strategy](params or {}, app.datastore())
    if found is None:
        return {}
    digest = hashlib.sha256(image_nifti(app.analysis, found["id"])).hexdigest()
    return {**found, **app.datastore().get_image_info(found["id"]), "checksum": f"SHA256:{digest}"}


@router.post("/batch/infer/{model}")
def start_batch(
    request: Request, model: str, images: str = "all", run_sync: bool = False, user: User = ADMIN
) -> dict[str, Any]:
    """Run a model on all images, or on those with or without a label; boxes are kept for those who read them later."""
    app = app_of(request)
    known_name(model, app._infers, "a model")
    store = app.datastore()
    lists = {"all": store.list_images, "labeled": store.get_labeled_images, "unlabeled": store.get_unlabeled_images}
    chosen = lists[known_name(images, lists, "images")]()
    run = app.batches.start(model, chosen, lambda image_id: app.answer({"model": model, "image": image_id}))
    if run_sync:
        run.wait()
    return run.as_dict()


@router.get("/batch/infer/", include_in_schema=False)
@router.get("/batch/infer")
def batch_status(request: Request, check_if_running: bool = False, user: User = ANY_USER) -> dict[str, Any]:
    """How the batch goes."""
    run = app_of(request).batches.last()
    if run is None or (check_if_running and run.status != "RUNNING"):
        raise UnknownError("there is no batch")
    return run.as_dict()


@router.delete("/batch/infer/", include_in_schema=False)
@router.delete("/batch/infer")
def stop_batch(request: Request, user: User = ADMIN) -> dict[str, Any]:
    """End the batch."""
    run = app_of(request).batches.last()
    if run is None:
        raise UnknownError("there is no batch")
    run.stop()
    return run.as_dict()


@router.get("/dgm/maps/{name}")
def get_map(request: Request, name: str, image: str, threshold: str = "otsu", user: User = ANY_USER) -> Response:
    """One map of a decomposition: saliency, heat, lungs, normal, residue (NIfTI) or overlay (PNG)."""
    known_name(name, MAPS, "a map")
    answer = decompose(app_of(request).analysis, image, {"map": name, "threshold": threshold})
    return Response(answer.content, media_type=_media_type(answer.name or ""), headers=_named(answer.name or ""))


def login_of(user: User) -> str | None:
    """Who logged in; None where nobody has to."""
    return user.username if settings.MONAI_LABEL_AUTH_ENABLE else None


def _check_tag(tag: str) -> None:
    if tag not in ("", TAG):
        raise InputError(f"tag: expected {TAG}, got another")


def _content(file: UploadFile, limit: int, name: str) -> bytes:
    content = file.file.read(limit + 1)
    if len(content) > limit:
        raise TooLargeError(f"{name}: expected at most {limit} bytes, got more")
    return content


def _media_type(name: str) -> str:
    return MEDIA_TYPES[PurePath(name).suffix]


def _named(name: str) -> dict[str, str]:
    """An attachment's name, in characters that a header can hold."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)
    return {"content-disposition": f'attachment; filename="{plain}"'}
