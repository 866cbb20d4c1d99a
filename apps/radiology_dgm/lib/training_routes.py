"""Routes for the training on the readers' labels, as MONAI Label's clients call it, and for the detector's versions."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from lib.access import GuardedRoute
from lib.dependencies import App
from monai_dgm.labelling.server.http_errors import UnknownError
from monai_dgm.labelling.server.request_options import known_name

router = APIRouter(route_class=GuardedRoute)


@router.post("/train/{model}")
def start_training(app: App, model: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Begin a training, or continue an interrupted one with the same options."""
    known_name(model, app.trainers, "a model that is trained")
    return app.training.start(params or {})


@router.get("/train/", include_in_schema=False)
@router.get("/train")
def training_status(
    app: App, all: bool = False, check_if_running: bool = False
) -> dict[str, Any] | list[dict[str, Any]]:
    """Progress of the training, or the result of the last one."""
    status = app.training.status()
    if status is None or (check_if_running and status["status"] != "RUNNING"):
        raise UnknownError("there is no training")
    return [status] if all else status


@router.delete("/train/", include_in_schema=False)
@router.delete("/train")
def stop_training(app: App) -> dict[str, Any] | None:
    """End the training, or discard an interrupted one."""
    return app.training.stop()


@router.get("/dgm/versions/", include_in_schema=False)
@router.get("/dgm/versions")
def list_versions(app: App) -> dict[str, Any]:
    """All versions of the detector, and the one that is served."""
    return app.training.describe()


@router.post("/dgm/versions/{number}")
def restore_version(app: App, number: Annotated[int, Path(ge=0, lt=10**9)]) -> dict[str, Any]:
    """Serve this version from now on."""
    app.training.restore(number)
    return app.training.describe()
