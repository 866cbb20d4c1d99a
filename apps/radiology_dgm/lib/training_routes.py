"""Training from the readers' labels, to the platform's contract, and the versions of the detector."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User

from monai_dgm.errors import InputError
from monai_dgm.labelling.server.http_errors import UnknownError
from monai_dgm.labelling.server.requests import known_name
from monai_dgm.labelling.training.detector_training import DetectorTraining

ROUTES = [
    ("GET DELETE", "/train/?"),
    ("POST", "/train/[^/]*"),
    ("GET", "/dgm/versions/?"),
    ("POST", "/dgm/versions/[^/]*"),
]

router = APIRouter()
ANY_USER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
ADMIN = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))


def _training(request: Request) -> DetectorTraining:
    return request.app.state.labelling.training


@router.post("/train/{model}")
def start_training(
    request: Request, model: str, params: dict[str, Any] | None = None, user: User = ADMIN
) -> dict[str, Any]:
    """Begin a training, or go on with the same one that was interrupted."""
    known_name(model, request.app.state.labelling._trainers, "a model that is trained")
    return _training(request).start(params or {})


@router.get("/train/", include_in_schema=False)
@router.get("/train")
def training_status(
    request: Request, all: bool = False, check_if_running: bool = False, user: User = ANY_USER
) -> dict[str, Any] | list[dict[str, Any]]:
    """How the training goes, or how the last one ended."""
    training = _training(request)
    status = training.status()
    if status is None or (check_if_running and status["status"] != "RUNNING"):
        raise UnknownError("there is no training")
    return [status] if all else status


@router.delete("/train/", include_in_schema=False)
@router.delete("/train")
def stop_training(request: Request, user: User = ADMIN) -> dict[str, Any] | None:
    """End the training, or give up an interrupted one."""
    return _training(request).stop()


@router.get("/dgm/versions/", include_in_schema=False)
@router.get("/dgm/versions")
def list_versions(request: Request, user: User = ANY_USER) -> dict[str, Any]:
    """All versions of the detector, and which of them is served."""
    return _training(request).describe()


@router.post("/dgm/versions/{number}")
def restore_version(request: Request, number: str, user: User = ADMIN) -> dict[str, Any]:
    """Serve a version from now on."""
    if not (number.isascii() and number.isdigit() and len(number) <= 9):
        raise InputError("expected the number of a version")
    training = _training(request)
    training.restore(int(number))
    return training.describe()
