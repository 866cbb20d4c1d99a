"""The server's answers: nothing tells the images apart, and nothing is accepted that is not an answer."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monai_dgm.errors import InputError
from monai_dgm.reader_study.answers import read_all
from monai_dgm.reader_study.server import make_app
from monai_dgm.reader_study.study import load_served
from tests.reader_study.conftest import Server

pytest.importorskip("fastapi", reason="FastAPI is not installed (pip install -e '.[study]')")


def ask(address: str, body: dict[str, Any] | None = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Status, and headers with content."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"} | (headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, (answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return error.code, (error.headers, error.read())


def test_the_server(new_study: Callable[..., Path], new_server: Callable[[Path], Server]) -> None:
    study = new_study(("real", "dgm"), 4, num_catch=1)
    served = load_served(study)
    address = new_server(study).address

    # images: equal headers and lengths, nothing to cache
    answers = [ask(f"{address}/images/{path.name}") for path in served.images.iterdir()]
    told = {
        (status, len(body), *(f"{k}={v}" for k, v in head.items() if k != "date")) for status, (head, body) in answers
    }
    assert len(answers) == 10 and len(told) == 1
    head = answers[0][1][0]
    assert head["cache-control"] == "no-store" and not {"etag", "last-modified"} & {name.lower() for name in head}
    for path in (
        "images/" + "0" * 32 + ".png",
        "images/..%2f..%2fkey.png",
        "key.json",
        "study.json",
        "docs",
        "study.html",
    ):
        assert ask(f"{address}/{path}")[0] == 404, path

    # the way through all pairs; what /next says of a pair is its random names
    status, (_, body) = ask(f"{address}/next", {"reader": "Anna"})
    state = json.loads(body)
    assert status == 200 and state["reader"] == "anna" and (state["done"], state["total"]) == (0, 5)
    first = state["pair"]
    assert first.keys() == {"trial", "left", "right"}
    for _ in range(2):  # sent again, after an answer that got lost on its way
        body = ask(f"{address}/answer", {"reader": "anna", "trial": first["trial"], "choice": "left", "seconds": 1})[1][
            1
        ]
        assert json.loads(body)["done"] == 1
    refused = [
        {"trial": first["trial"], "choice": "both", "seconds": 1},
        {"trial": "other", "choice": "left", "seconds": 1},
        {"trial": first["trial"], "choice": "left"},
    ]
    for body in refused:
        assert ask(f"{address}/answer", {"reader": "anna"} | body)[0] in (400, 422)
    status, (_, body) = ask(f"{address}/next", {"reader": "../key"})
    assert status == 400 and "letters a to z" in json.loads(body)["detail"]
    assert ask(f"{address}/", headers={"Host": "other.example"})[0] == 400
    (kept,) = read_all(study / "answers", served.study)
    assert kept.choices == {first["trial"]: "left"}


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"study\.json: expected a file of a study"):
        make_app(tmp_path)
