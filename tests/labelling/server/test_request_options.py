from __future__ import annotations

from typing import Any

import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.server.http_errors import (
    BusyError,
    ConflictError,
    ForbiddenError,
    TooLargeError,
    UnknownError,
    status_of,
)
from monai_dgm.labelling.server.request_options import (
    CHOICES,
    DecomposeOptions,
    DetectOptions,
    checked_image_id,
    checked_new_id,
    describe_errors,
    known_name,
    options_of,
    parse_params,
    reader_of,
)

PATHS = [
    "../x",
    "/etc/passwd",
    "a/../../b",
    "..",
    ".",
    "a/b",
    "a\\b",
    "C:x",
    ".hidden",
    "a..b",
    "a\0b",
    "a\nb",
    "~",
    "",
]


def test_every_refusal_has_its_status() -> None:
    expected = {UnknownError: 404, ForbiddenError: 403, ConflictError: 409, TooLargeError: 413, BusyError: 429}
    for kind, status in expected.items():
        assert status_of(kind("x")) == status
    assert status_of(InputError("x")) == 400


@pytest.mark.parametrize("value", [*PATHS, None, 3, ["a"], "a" * 129, "ä", "a.", "-a"])
def test_no_path_becomes_the_name_of_a_new_image(value: Any) -> None:
    with pytest.raises(InputError) as caught:
        checked_new_id(value)
    assert not isinstance(value, str) or not value or value not in str(caught.value) or len(value) < 3


@pytest.mark.parametrize("value", ["a", "1.2.840.113", "A_b-c.d", "x" * 128])
def test_plain_names_are_ids(value: str) -> None:
    assert checked_new_id(value) == checked_image_id(value) == value


@pytest.mark.parametrize("text", ["[1]", "3", "null", "{", '{"a": NaN}', '{"a":1,"a":2}', "[" * 5000, b"\xff"])
def test_params_that_are_none_are_refused(text: Any) -> None:
    with pytest.raises(InputError):
        parse_params(text)


def test_params_may_be_missing_but_not_long() -> None:
    assert parse_params(None) == parse_params("") == parse_params("{}") == {}
    with pytest.raises(InputError, match="at most"):
        parse_params('{"a": "' + "x" * 300_000 + '"}')


@pytest.mark.parametrize("value", ["nan", "1e5", True, -0.1, 1.1, [], {}, float("inf"), float("nan"), "0x1", "١"])
def test_numbers_are_in_range(value: Any) -> None:
    with pytest.raises(InputError, match="^score_threshold: expected (a|a finite|at least 0|at most 1)"):
        options_of(DetectOptions, {"score_threshold": value})


@pytest.mark.parametrize(("value", "expected"), [(0.25, 0.25), ("0.25", 0.25), ("", None), (None, None), (1, 1.0)])
def test_the_panel_sends_numbers_as_text(value: Any, expected: float | None) -> None:
    assert options_of(DetectOptions, {"score_threshold": value}).score_threshold == expected
    assert options_of(DetectOptions, {"model": "x", "client_id": [1]}).score_threshold is None


def test_a_choice_is_one_of_its_list() -> None:
    defaults = DecomposeOptions()
    assert (defaults.map, defaults.saliency_threshold) == ("saliency", "otsu")
    assert options_of(DecomposeOptions, {**defaults.model_dump(), **CHOICES}) == defaults  # as the panel sends it
    assert options_of(DecomposeOptions, {"map": "heat"}).map == "heat"
    for value in ("c", 3, ["heat"], {}, "../x"):
        with pytest.raises(InputError, match="^map: expected 'saliency', 'heat', 'lungs'"):
            options_of(DecomposeOptions, {"map": value})


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"threshold": "li"}, "li"),
        ({"threshold": "0.25"}, 0.25),
        ({"threshold": 0}, 0),
        ({"threshold": "fixed"}, 0.1),
        ({"threshold": "fixed", "fixed_threshold": "0.5"}, 0.5),
    ],
)
def test_a_threshold_is_a_rule_or_a_number(params: dict[str, Any], expected: Any) -> None:
    assert options_of(DecomposeOptions, params).saliency_threshold == expected


@pytest.mark.parametrize("value", ["x", True, -0.1, 2.1, ["otsu"], {}, "9" * 400, float("nan"), "1e5"])
def test_another_threshold_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="^threshold: expected (a number from 0 to 2|one of otsu, li)"):
        options_of(DecomposeOptions, {"threshold": value})


@pytest.mark.parametrize("value", [None, 1, "other", ["a"], "../a"])
def test_an_unknown_name_is_not_repeated(value: Any) -> None:
    with pytest.raises(UnknownError, match="^expected a model of a, b, got another$"):
        known_name(value, {"b": 1, "a": 2}, "a model")


def test_a_known_name_is_returned() -> None:
    assert known_name("a", {"b": 1, "a": 2}, "a model") == "a"


def test_who_logged_in_is_the_reader() -> None:
    assert reader_of({"reader": "someone else", "client_id": "x"}, "doctor") == "doctor"
    assert reader_of({"reader": " one ", "client_id": "x"}, None) == "one"
    assert reader_of({"client_id": "x"}, None) == "x"
    assert reader_of({"client_id": None}, None) == "anonymous"
    with pytest.raises(InputError):
        reader_of({"client_id": {"a": 1}}, None)


@pytest.mark.parametrize(
    ("place", "skip", "expected"),
    [
        (("query", "image"), 1, "image: field required"),
        (("seed",), 0, "seed: field required"),
        (("body",), 1, "request: field required"),
        (("body", 17), 1, "request: field required"),
    ],
)
def test_errors_of_pydantic_are_one_line_without_the_input(place: tuple[Any, ...], skip: int, expected: str) -> None:
    error = {"loc": place, "msg": "Field required", "input": "Doe^Jane"}
    assert describe_errors([error, {"loc": ("x",), "msg": "y"}], skip) == expected
