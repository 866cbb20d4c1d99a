"""Routes that run models: on one image, on all images, for one map, and to select the image to read next.

They are plain functions, so they run in threads and a running model does not block other requests. MONAI Label's
clients call them: parameters and answers are those of MONAI Label's own routes.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Query, UploadFile
from fastapi.responses import JSONResponse, Response
from requests_toolbelt import MultipartEncoder

from lib.access import CurrentUser, GuardedRoute
from lib.dependencies import App, ImageId, content_of, file_response, media_type_of, reader_who_asks, suffix_of
from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import MAX_IMAGE_ID
from monai_dgm.labelling.server.analysis_results import Answer, decompose, image_nifti
from monai_dgm.labelling.server.http_errors import UnavailableError, UnknownError
from monai_dgm.labelling.server.request_options import MAPS, known_name, parse_params

router = APIRouter(route_class=GuardedRoute)


@router.post("/infer/{model}")
def infer(
    app: App,
    model: str,
    user: CurrentUser,
    image: Annotated[str, Query(max_length=MAX_IMAGE_ID)] = "",
    session_id: str = "",
    output: Literal["all", "json", "image", ""] = "all",
    params: Annotated[str, Form()] = "{}",
    file: Annotated[UploadFile | None, File()] = None,
) -> Response:
    """Run a model on an image of the studies, or on a file of the request, of which nothing is kept."""
    if session_id or bool(image) == (file is not None):
        raise InputError("expected an image of the studies (image=ID), or a file")
    options = {**parse_params(params), "model": model}
    start = time.perf_counter()
    if file is None:
        answer: Answer = app.answer({**options, "image": image}, reader_who_asks(options, user))
    else:
        known_name(model, app.models, "a model")
        content = content_of(file, app.analysis.studies.max_bytes, "file")
        answer = app.answer_upload(options, content, suffix_of(file.filename or ""))
    answer.params["latency"] = round(time.perf_counter() - start, 4)
    return _response(answer, output or "all")


def _response(answer: Answer, output: str) -> Response:
    """The answer in the form that ``output`` names.

    "all" without a file is JSON, but for boxes: 3D Slicer's panel needs a multipart message there, or it fails.
    """
    if output == "json" or (output == "all" and answer.name is None and "boxes" not in answer.params):
        return JSONResponse(answer.params)
    if output == "image":
        if answer.name is None:
            raise UnknownError("there is no file in this answer")
        return file_response(answer.name, answer.content)
    fields: dict[str, Any] = {"params": (None, json.dumps(answer.params), "application/json")}
    if answer.name is not None:
        fields["image"] = (answer.name, answer.content, media_type_of(answer.name))
    message = MultipartEncoder(fields=fields)
    return Response(message.to_string(), media_type=message.content_type)


@router.get("/dgm/maps/{name}")
def get_map(app: App, name: str, image: ImageId, threshold: str = "otsu") -> Response:
    """One map of a decomposition: saliency, heat, lungs, normal, residue, uncertainty (NIfTI) or overlay (PNG)."""
    known_name(name, MAPS, "a map")
    answer = decompose(app.analysis, image, {"map": name, "threshold": threshold})
    return file_response(answer.name or "", answer.content)


@router.post("/activelearning/{strategy}")
def next_image(app: App, strategy: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """The image to read next; empty where all images are labelled."""
    known_name(strategy, app.strategies, "a strategy")
    unusable: set[str] = set()
    while (found := app.strategies[strategy].choose(unusable)) is not None:
        try:
            digest = hashlib.sha256(image_nifti(app.analysis, found)).hexdigest()
            return {"id": found, **app.datastore().get_image_info(found), "checksum": f"SHA256:{digest}"}
        except UnavailableError:
            raise
        except InputError:  # this one cannot be read; the others can
            unusable.add(found)
    return {}


@router.post("/batch/infer/{model}")
def start_batch(
    app: App,
    model: str,
    images: Literal["all", "labeled", "unlabeled"] = "all",
    run_sync: bool = False,
) -> dict[str, Any]:
    """Run a model on many images; its boxes are kept for those who read the images later."""
    known_name(model, app.models, "a model")
    store = app.datastore()
    lists = {"all": store.list_images, "labeled": store.get_labeled_images, "unlabeled": store.get_unlabeled_images}
    run = app.batches.start(model, lists[images](), lambda image: app.answer({"model": model, "image": image}))
    if run_sync:
        run.wait()
    return run.as_dict()


@router.get("/batch/infer/", include_in_schema=False)
@router.get("/batch/infer")
def batch_status(app: App, check_if_running: bool = False) -> dict[str, Any]:
    """Progress of the batch."""
    run = app.batches.last()
    if run is None or (check_if_running and run.status != "RUNNING"):
        raise UnknownError("there is no batch")
    return run.as_dict()


@router.delete("/batch/infer/", include_in_schema=False)
@router.delete("/batch/infer")
def stop_batch(app: App) -> dict[str, Any]:
    """End the batch."""
    run = app.batches.last()
    if run is None:
        raise UnknownError("there is no batch")
    run.stop()
    return run.as_dict()
