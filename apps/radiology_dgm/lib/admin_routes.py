"""Routes of administrators: their page, health, metrics, the audit log, deletion of radiographs, labels and results."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from lib.access import CurrentUser, GuardedRoute
from lib.dependencies import App, ImageId
from lib.metrics import problems_of, state_of
from lib.page_routes import page
from lib.rules import Role
from monai_dgm.errors import StorageError
from monai_dgm.labelling.server.http_errors import ForbiddenError, UnknownError
from monai_dgm.labelling.server.request_guard import is_loopback

SHOWN_EVENTS = 20

router = APIRouter(route_class=GuardedRoute)


@router.get("/health")
def health(app: App) -> JSONResponse:
    """Whether the server is well, for programs that watch it: 200, else 503 with the reasons."""
    problems = problems_of(app)
    return JSONResponse({"status": "failing" if problems else "ok", "problems": problems}, 503 if problems else 200)


@router.get("/metrics", include_in_schema=False)
def metrics(request: Request, user: CurrentUser) -> Response:
    """Numbers for Prometheus: to this machine, and to administrators."""
    sender = request.client.host if request.client else None
    if user.role < Role.ADMINISTRATOR and not is_loopback(sender):
        raise ForbiddenError("expected a request from this machine, or of an administrator")
    return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE_LATEST)


@router.get("/dgm/admin", include_in_schema=False)
def admin_page(request: Request, app: App) -> Response:
    """Failures, queue, disk, cache, models, versions, training and the audit log."""
    try:
        log, audit_problem = last_events(app.access.audit.lines(), SHOWN_EVENTS), ""
    except StorageError:
        log, audit_problem = [], "The audit log was changed; the server's log says where."
    return page(
        request,
        "admin.html",
        problems=problems_of(app),
        state=state_of(app),
        models=app.analysis.models.versions(),
        versions=app.training.describe(),
        training=app.training.status(),
        batch=app.batches.last(),
        failures=failures_of(app),
        log=log,
        audit_problem=audit_problem,
        archive=app.watcher is not None,
    )


@router.post("/dgm/admin/retry", include_in_schema=False)
def retry(app: App) -> RedirectResponse:
    """Try all images that failed again."""
    if app.watcher is not None:
        app.watcher.results.state.retry()
    app.selection.retry()
    return RedirectResponse("/dgm/admin", 303)


@router.post("/dgm/admin/cache", include_in_schema=False)
def empty_cache(app: App) -> RedirectResponse:
    """Remove the instances that were fetched from the archive."""
    if app.watcher is not None:
        app.analysis.studies.cache.purge()
        app.analysis.forget()
    return RedirectResponse("/dgm/admin", 303)


def last_events(lines: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The last events of the audit log, the latest first, each with the "status" of its outcome."""
    outcomes = {line["of"]: line["status"] for line in lines if line["event"] == "outcome"}
    events = [{**line, "status": outcomes.get(line["n"], "")} for line in lines if line["event"] != "outcome"]
    return events[: -count - 1 : -1]


def failures_of(app: Any) -> dict[str, str]:
    """Images that cannot be used, with the reason."""
    sent = {} if app.watcher is None else app.watcher.results.failures()
    return {**sent, **app.selection.failures}


@router.get("/dgm/audit")
def read_audit_log(app: App, image: str = "", study: str = "", user: str = "", limit: int = 1000) -> dict[str, Any]:
    """The last lines of the audit log, about an image or a study, or of a user. A log that was changed is an error."""
    lines = app.access.audit.lines(image or None, study or None, user or None)
    return {"lines": lines[-limit:] if limit > 0 else [], "total": len(lines)}


@router.delete("/datastore/label")
def delete_labels(app: App, image: ImageId, reader: str = "") -> dict[str, Any]:
    """Delete the labels of a reader for an image with their history, or those of all readers."""
    removed = app.submissions.remove(image, reader or None)
    if not removed:
        raise UnknownError("label: there is none of that image and reader")
    return {"image": image, "labels": removed}


@router.delete("/datastore/image")
def delete_image(app: App, image: ImageId) -> dict[str, Any]:
    """Delete a radiograph of a folder, and all that the server keeps about it: labels, the model's boxes, scores."""
    name = app.analysis.studies.find(image).image_id
    app.analysis.studies.remove(name)
    return {"image": name, "labels": app.submissions.remove(name), **app.forget_results([name])}


@router.delete("/dgm/studies/{study}/results")
def delete_results(app: App, study: str) -> dict[str, Any]:
    """Delete the results of the models for a study: here, and the objects that were sent to the archive."""
    images = app.images_of_study(study)
    return {"images": len(images), **app.forget_results(images)}
