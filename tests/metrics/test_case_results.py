"""Groups of a test set."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from monai_dgm.metrics.case_results import groups_of, origin_of


def records(sources: str) -> list[SimpleNamespace]:
    return [SimpleNamespace(source=source) for source in sources]


def test_groups_are_all_sources_and_what_was_asked_for() -> None:
    given = records("bab")
    groups = groups_of(given, {"both": ["a", "b"], "none": ["c"]})
    assert list(groups) == ["all", "source:a", "source:b", "sources:both"]
    assert groups["all"] == given == groups["sources:both"] and groups["source:b"] == [given[0], given[2]]


def test_one_source_is_no_group_of_its_own_and_nothing_is_all() -> None:
    assert list(groups_of(records("aa"))) == ["all"] and groups_of([]) == {"all": []}


def test_origins_may_stand_beside_the_records() -> None:
    origins = [origin_of({"source": name}) for name in "xyx"]
    assert groups_of([1, 2, 3], origins=origins) == {"all": [1, 2, 3], "source:x": [1, 3], "source:y": [2]}
    with pytest.raises(ValueError, match="shorter"):
        groups_of([1, 2], origins=origins[:1])


def test_views_and_sexes_are_groups_where_they_are_known() -> None:
    items = [{"view": "PA", "sex": "F"}, {"view": "AP", "sex": None}, {"view": "PA"}, {"sex": ""}]
    groups = groups_of([0, 1, 2, 3], origins=[origin_of(item) for item in items])
    assert groups == {"all": [0, 1, 2, 3], "view:AP": [1], "view:PA": [0, 2]}


def test_images_without_a_source_are_a_source() -> None:
    origins = [origin_of(item) for item in ({"source": "a"}, {}, {"source": "a"})]
    assert groups_of([0, 1, 2], origins=origins) == {"all": [0, 1, 2], "source:a": [0, 2], "source:unknown": [1]}
