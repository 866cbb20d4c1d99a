"""Routes for an archive: its studies, its cache, the watcher's state, and DICOMweb, which is passed on to the archive.

The viewer asks this server instead of the archive, so that both have one origin and the archive needs no CORS.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import httpx
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from requests_toolbelt import MultipartDecoder
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from lib.access import CurrentUser, GuardedRoute, User
from lib.dependencies import App, Body, own_address
from lib.rules import Role
from monai_dgm.errors import InputError
from monai_dgm.labelling.archive.dicomweb_paths import checked_path, mark_superseded, own_addresses
from monai_dgm.labelling.server.http_errors import (
    ArchiveAwayError,
    ConflictError,
    ForbiddenError,
    TooLargeError,
    UnknownError,
)
from monai_dgm.readers.dicom.read import read_header

PASSED_ON = ("accept", "content-type")
REPORTS = "1.2.840.10008.5.1.4.1.1.88."  # classes of structured reports (PS3.4 B.5)
MAX_JSON_BYTES = 100_000_000
TIMEOUT = httpx.Timeout(60.0, connect=5.0)

router = APIRouter(route_class=GuardedRoute)
logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses, with UIDs in them


def current_archive(app: App) -> Any:
    """The archive.

    Raises:
        UnknownError: the studies are those of a folder.
    """
    if app.watcher is None:
        raise UnknownError("the studies of this server are in a folder, not in an archive")
    return app.analysis.studies


Archive = Annotated[Any, Depends(current_archive)]


@router.get("/dgm/studies/{study}")
def list_study(app: App, archive: Archive, study: str) -> list[dict[str, Any]]:
    """The radiographs of a study by its Study Instance UID."""
    found = []
    for item in archive.in_study(study):
        rows, cols = item.rows, item.cols
        if rows is None or cols is None:  # the archive does not say
            placement = app.analysis.placement(item.uids.instance)
            rows, cols = placement.rows, placement.cols
        found.append({"image": item.uids.instance, "series": item.uids.series, "rows": rows, "cols": cols})
    return found


@router.get("/dgm/archive")
def archive_status(app: App, archive: Archive) -> dict[str, Any]:
    """How many results were sent and reports read, and whether the archive answers."""
    return app.watcher.as_dict()


@router.get("/dgm/failures")
def list_failures(app: App, archive: Archive) -> list[dict[str, str]]:
    """Images of the archive that could not be analysed, with reason and time, the latest first."""
    return [
        {"image": item.image_id, "reason": item.reason, "time": item.time}
        for item in app.watcher.results.state.failures()
    ]


@router.post("/dgm/failures")
def retry_failures(app: App, archive: Archive, image: str = "") -> dict[str, int]:
    """Analyse an image again that failed, or all that failed."""
    return {"retried": app.watcher.results.state.retry(image or None)}


@router.delete("/dgm/cache")
def purge_cache(app: App, archive: Archive) -> dict[str, int]:
    """Remove the instances that were fetched from the archive."""
    removed = archive.cache.purge()
    app.analysis.forget()
    return {"removed": removed}


@router.get("/dicom-web/{path:path}")
async def read_archive(request: Request, app: App, path: str) -> Response:
    """QIDO-RS and WADO-RS (PS3.18): of the archive, or of the folder of radiographs."""
    if app.folder is None:
        return await _pass_on(request, app.analysis.studies.client, path, b"")
    query = dict(request.query_params)
    answer = await run_in_threadpool(app.folder.answer, checked_path("GET", path), query)
    return Response(answer.content, media_type=answer.media_type)


@router.post("/dicom-web/{path:path}")
async def store_in_archive(
    request: Request, app: App, archive: Archive, path: str, document: Body, user: CurrentUser
) -> Response:
    """STOW-RS (PS3.18); of as many bytes as other requests may have, which is enough for a report."""
    checked_path(request.method, path)
    objects = await run_in_threadpool(_objects_in, document, request.headers.get("content-type", ""))
    if user.name is not None:
        await run_in_threadpool(_note_sender, app, user, objects)
    for study in {item.study for item in objects or ()} - {path.partition("/")[2]}:  # the path's is in the audit log
        log = app.access.audit
        await run_in_threadpool(log.add, "label", user.name, log.code_of("study", study), route="STOW-RS")
    answer = await _pass_on(request, archive.client, path, document)
    app.watcher.look_at({item.study for item in objects or ()})
    return answer


class _Stored(NamedTuple):
    instance: str
    kind: str
    study: str


def _objects_in(document: bytes, content_type: str) -> list[_Stored] | None:
    """UIDs of the instances, their SOP classes and studies; None for what is no DICOM file, or one that is deflated."""
    tags = ["SOPInstanceUID", "SOPClassUID", "StudyInstanceUID"]
    try:
        found = [read_header(part.content) for part in MultipartDecoder(document, content_type).parts]
        return [_Stored(*(str(item[tag].value) for tag in tags)) for item in found]
    except Exception:  # whatever a document does that is none
        return None


def _note_sender(app: Any, user: User, objects: list[_Stored] | None) -> None:
    """Store who sends these objects: a report becomes the label of this user.

    Raises:
        InputError: no DICOM objects.
        ForbiddenError: readers send reports alone.
        ConflictError: another user sent an object of this UID.
    """
    if objects is None:
        raise InputError("expected DICOM objects as multipart/related")
    for uid, kind, _ in objects:
        if user.role < Role.ANNOTATOR_ADMIN and not kind.startswith(REPORTS):
            raise ForbiddenError("expected a structured report; readers store nothing else in the archive")
        if app.watcher.reports.state.store_sender(uid, user.name) != user.name:
            raise ConflictError("there is an object of this UID, of another user")


async def _pass_on(request: Request, client: Any, path: str, body: bytes) -> Response:
    headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
    address = httpx.URL(f"{client.url}/{checked_path(request.method, path)}", query=request.url.query.encode() or None)
    try:
        http = _http(request, client.login)
        headers["accept-encoding"] = "identity"
        wanted = http.build_request(request.method, address, headers=headers, content=body or None)
        answer = await http.send(wanted, stream=True)
        if answer.status_code >= 300 or "json" in answer.headers.get("content-type", ""):
            return await _whole(request, client.url, answer)
    except httpx.HTTPError as error:
        raise ArchiveAwayError(f"the archive does not answer ({type(error).__name__})") from None
    return StreamingResponse(
        answer.aiter_raw(), answer.status_code, _kept(answer.headers), background=BackgroundTask(answer.aclose)
    )


async def _whole(request: Request, archive: str, answer: httpx.Response) -> Response:
    """DICOM JSON with this server's address instead of the archive's, and errors in one line."""
    try:
        if answer.status_code >= 300:
            status = answer.status_code if 400 <= answer.status_code < 500 else 503
            return JSONResponse({"detail": f"the archive refuses it (status {answer.status_code})"}, status)
        chunks, size = [], 0
        async for chunk in answer.aiter_bytes():
            size += len(chunk)
            if size > MAX_JSON_BYTES:
                raise TooLargeError(f"the archive answers with more than {MAX_JSON_BYTES} bytes")
            chunks.append(chunk)
    finally:
        await answer.aclose()
    own = f"{own_address(request, request.app.state.label_app)}/dicom-web"
    headers = {"content-type": answer.headers["content-type"]}
    body = own_addresses(b"".join(chunks), archive, own)
    study = re.search(r"/studies/([0-9.]+)/", request.url.path)
    if study is not None:
        superseded = await run_in_threadpool(request.app.state.label_app.watcher.results.superseded, study[1])
        body = mark_superseded(body, superseded)
    return Response(body, answer.status_code, headers)


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in ("content-type", "content-length", "content-encoding") if name in headers}


def _http(request: Request, login: tuple[str, str] | None) -> httpx.AsyncClient:
    """The one HTTP client of the server, made in its event loop; it follows no redirects and uses no proxy."""
    state = request.app.state
    if not hasattr(state, "archive_http"):
        state.archive_http = httpx.AsyncClient(auth=login, timeout=TIMEOUT, trust_env=False, follow_redirects=False)
    return state.archive_http
