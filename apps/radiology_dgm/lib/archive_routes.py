"""The archive's studies, its cache and its watch; and the archive itself, passed on to a viewer of the same origin."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import httpx
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from monailabel.endpoints.user.auth import User
from starlette.background import BackgroundTask

from lib.routes import ADMIN, ANNOTATOR, ANY_USER, app_of
from monai_dgm.labelling.archive.dicomweb_paths import READ, STORE, checked_path, own_addresses
from monai_dgm.labelling.server.http_errors import ArchiveAwayError, TooLargeError, UnknownError

ROUTES = [
    ("GET", f"/dicom-web/{READ}"),
    ("POST", f"/dicom-web/{STORE}"),
    ("GET", "/dgm/studies/[^/]*"),
    ("GET", "/dgm/archive"),
    ("DELETE", "/dgm/cache"),
]
PASSED_ON = ("accept", "content-type")
# what an answer holds is a patient's: a browser is not to keep it
PRIVATE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
MAX_JSON_BYTES = 100_000_000
TIMEOUT = httpx.Timeout(60.0, connect=5.0)

router = APIRouter()
logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses, with UIDs in them


def archive_of(request: Request) -> Any:
    """The archive.

    Raises:
        UnknownError: the studies are those of a folder.
    """
    app = app_of(request)
    if app.watch is None:
        raise UnknownError("the studies of this server are in a folder, not in an archive")
    return app.analysis.studies


@router.get("/dgm/studies/{study}")
def list_study(request: Request, study: str, user: User = ANY_USER) -> list[dict[str, Any]]:
    """The radiographs of a study by its Study Instance UID."""
    found = []
    for item in archive_of(request).in_study(study):
        rows, cols = item.rows, item.cols
        if rows is None or cols is None:  # the archive does not say
            placement = app_of(request).analysis.placement(item.uids.instance)
            rows, cols = placement.rows, placement.cols
        found.append({"image": item.uids.instance, "series": item.uids.series, "rows": rows, "cols": cols})
    return found


@router.get("/dgm/archive")
def archive_status(request: Request, user: User = ANY_USER) -> dict[str, Any]:
    """How many results were sent and reports read, and whether the archive answers."""
    archive_of(request)
    return app_of(request).watch.as_dict()


@router.delete("/dgm/cache")
def purge_cache(request: Request, user: User = ADMIN) -> dict[str, int]:
    """Remove the instances that were fetched from the archive."""
    removed = archive_of(request).cache.purge()
    app_of(request).analysis.forget()
    return {"removed": removed}


@router.get("/dicom-web/{path:path}")
async def read_archive(request: Request, path: str, user: User = ANY_USER) -> Response:
    """QIDO-RS and WADO-RS."""
    return await _pass_on(request, path, b"")


@router.post("/dicom-web/{path:path}")
async def store_in_archive(request: Request, path: str, user: User = ANNOTATOR) -> Response:
    """STOW-RS; of as many bytes as other requests may have, which are enough for a report."""
    return await _pass_on(request, path, await request.body())


async def _pass_on(request: Request, path: str, body: bytes) -> Response:
    client = archive_of(request).client
    headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
    address = httpx.URL(f"{client.url}/{checked_path(request.method, path)}", query=request.url.query.encode() or None)
    try:
        http = _http(request, client.login)
        headers["accept-encoding"] = "identity"
        wanted = http.build_request(request.method, address, headers=headers, content=body or None)
        answer = await http.send(wanted, stream=True)
        if answer.status_code >= 300 or "json" in answer.headers.get("content-type", ""):
            return await _short(request, client.url, answer)
    except httpx.HTTPError as error:
        raise ArchiveAwayError(f"the archive does not answer ({type(error).__name__})") from None
    return StreamingResponse(
        answer.aiter_raw(), answer.status_code, _kept(answer.headers), background=BackgroundTask(answer.aclose)
    )


async def _short(request: Request, archive: str, answer: httpx.Response) -> Response:
    """DICOM JSON with our addresses in the place of the archive's, and refusals in one line."""
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
    own = f"{request.url.scheme}://{request.url.netloc}/dicom-web"
    headers = {**PRIVATE, "content-type": answer.headers["content-type"]}
    return Response(own_addresses(b"".join(chunks), archive, own), answer.status_code, headers)


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    kept = {name: headers[name] for name in ("content-type", "content-length", "content-encoding") if name in headers}
    return {**PRIVATE, **kept}


def _http(request: Request, login: tuple[str, str] | None) -> httpx.AsyncClient:
    """One client a server, made where its requests are handled; it follows no redirection, and takes no proxy."""
    state = request.app.state
    if not hasattr(state, "archive_http"):
        state.archive_http = httpx.AsyncClient(auth=login, timeout=TIMEOUT, trust_env=False, follow_redirects=False)
    return state.archive_http
