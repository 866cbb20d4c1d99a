"""Requests as the panel of 3D Slicer makes them, and what an answer has to be."""

from __future__ import annotations

import json
from email.parser import BytesParser
from pathlib import Path
from typing import Any

MODELS = ("detect_opacities", "decompose", "classify")
EMPTY = b'{"markups": []}'


def infer(client: Any, model: str, image: str, params: dict[str, Any] | None = None, **query: str) -> Any:
    fields = {"params": json.dumps({"client_id": "reader one", **(params or {})})}
    return client.post(f"/infer/{model}", params={"image": image, **query}, data=fields)


def parts(answer: Any) -> tuple[dict[str, Any], str | None, bytes]:
    """(params, file name, file) of a multipart answer, as the panel takes it apart."""
    header = f"content-type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(header + answer.content)
    found = {part.get_param("name", header="content-disposition"): part for part in message.get_payload()}
    file = found.get("image")
    params = json.loads(found["params"].get_payload(decode=True))
    return (params, None, b"") if file is None else (params, file.get_filename(), file.get_payload(decode=True))


def submit(client: Any, image: str, document: bytes, reader: str = "reader one", **query: str) -> Any:
    fields = {"params": json.dumps({"label_info": [], "client_id": reader})}
    files = {"label": ("boxes.json", document)}
    return client.put("/datastore/label", params={"image": image, **query}, data=fields, files=files)


def check_refusal(answer: Any) -> None:
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:200])
    detail = answer.json()["detail"]
    assert isinstance(detail, str) and "\n" not in detail and "Traceback" not in detail
    assert "/tmp" not in detail and "/etc/passwd" not in detail


def files_of(folder: Path) -> list[Path]:
    """All but the scores, which the background writes."""
    return sorted(path for path in folder.rglob("*") if "scores.sqlite" not in path.name)
