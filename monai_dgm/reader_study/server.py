"""The page of a study on this machine alone. It reads ``served/`` and never the key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from monai_dgm.errors import InputError
from monai_dgm.reader_study.answers import AnswerLog, ReaderAnswers
from monai_dgm.reader_study.study import ANSWERS, load_served, reader_code
from monai_dgm.utils.optional_package import not_installed

HOST = "127.0.0.1"
_TEMPLATES = Path(__file__).parent / "templates"
_IMAGE = re.compile(r"[0-9a-f]{32}")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Reader(BaseModel):
    """Who asks for the next pair."""

    reader: str


class Answer(Reader):
    """A choice; seconds since both images were seen."""

    trial: str
    choice: str
    seconds: float


def make_app(folder: Path) -> Any:
    """The FastAPI application of the study in ``folder``; answers go to its ``answers/``.

    Raises:
        InputError: FastAPI is not installed, or there is no study.
    """
    try:
        from fastapi import FastAPI
        from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
        from starlette.middleware.trustedhost import TrustedHostMiddleware
    except ImportError as error:
        raise not_installed("fastapi", "reader study", "study") from error
    from monai_dgm.report.page import render

    study = load_served(folder)
    log = AnswerLog(folder / ANSWERS, study.study)
    shown = {one["trial"] for block in study.blocks for one in block}
    images = {one[side] for block in study.blocks for one in block for side in ("left", "right")}
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])

    async def with_headers(request: Any, call_next: Any) -> Any:
        answer = await call_next(request)
        answer.headers.update(_HEADERS)
        return answer

    async def refuse(_: Any, error: Exception) -> Any:
        return JSONResponse({"detail": str(error)}, status_code=400)

    app.middleware("http")(with_headers)
    app.exception_handler(InputError)(refuse)

    def state(reader: str, answers: ReaderAnswers) -> dict[str, Any]:
        order = study.order(reader)
        rest = [one for one in order if one["trial"] not in answers.choices]
        return {
            "reader": reader,
            "total": len(order),
            "done": len(order) - len(rest),
            "pair": rest[0] if rest else None,
        }

    @app.get("/")
    def page() -> Any:
        return HTMLResponse(render("study.html", _TEMPLATES, question=study.question))

    @app.get("/study.{kind}")
    def file_of_page(kind: str) -> Any:
        if kind not in ("js", "css"):
            return JSONResponse({"detail": "there is no such file"}, status_code=404)
        return FileResponse(_TEMPLATES / f"study.{kind}")

    @app.get("/images/{name}.png")
    def image(name: str) -> Any:
        if not _IMAGE.fullmatch(name) or name not in images:
            return JSONResponse({"detail": "there is no such image"}, status_code=404)
        return Response((study.images / f"{name}.png").read_bytes(), media_type="image/png")  # no date, no tag

    @app.post("/next")
    def next_pair(body: Reader) -> Any:
        reader = reader_code(body.reader)
        return state(reader, log.start(reader))

    @app.post("/answer")
    def answer(body: Answer) -> Any:
        reader = reader_code(body.reader)
        if body.trial not in shown:
            raise InputError("expected a pair of this study")
        return state(reader, log.add(reader, body.trial, body.choice, body.seconds))

    return app


def serve(folder: Path, port: int) -> None:
    """Serve a study on 127.0.0.1 until the process is stopped.

    Raises:
        InputError: uvicorn is not installed, or there is no study.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise not_installed("uvicorn", "reader study", "study") from error
    app = make_app(folder)
    print(f"reader study: http://{HOST}:{port}/   answers: {folder / ANSWERS}   (Ctrl+C stops)", flush=True)
    # the addresses of requests are not logged
    uvicorn.run(app, host=HOST, port=port, log_level="warning", access_log=False)
