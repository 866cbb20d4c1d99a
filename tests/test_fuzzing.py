"""A short run of the fuzzer, and every input that once did something else than being read or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing import MAX_BYTES, fuzz, outcome_of, targets

SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def test_a_few_inputs_of_every_reader() -> None:
    counts, _ = fuzz(list(targets()), 0, 300, 60)
    for name, outcomes in counts.items():
        assert set(outcomes) <= {"read", "refused"}, (name, outcomes)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [  # the reader of markups lists such a box under its problems
        ("manifest", b"9.5", b"9" * 400),  # OverflowError: int too large to convert to float
        ("coco", b"400", b"9" * 400),
        ("label", b"60.0", b"9" * 400),
        ("markups", b"9.95", b"9" * 400),
        ("rsna", b"10.0", b"9" * 400),
    ],
)
def test_numbers_of_hundreds_of_digits(tmp_path: Path, name: str, old: bytes, new: bytes) -> None:
    """From fuzzing."""
    target = targets()[name]
    assert old in target.seeds[0]
    outcome = outcome_of(target.use, target.seeds[0].replace(old, new), tmp_path / "input")
    assert outcome in (("read", "refused") if name == "markups" else ("refused",))


@pytest.mark.slow
def test_many_inputs() -> None:
    counts, grown = fuzz(list(targets()), 10_000_000, 20_000, 60)
    for name, outcomes in counts.items():
        assert set(outcomes) == {"read", "refused"}, (name, outcomes)  # both happen, and nothing else
    assert sum(one.total() for one in counts.values()) > 500
    assert grown < MAX_BYTES


@pytest.mark.parametrize("name", ["label", "markups", "coco"])
@SETTINGS
@given(replacement=JSON, data=st.data())
def test_json_of_any_shape(tmp_path: Path, name: str, replacement: object, data: st.DataObject) -> None:
    """One value of a document, at any depth, becomes any other."""
    import json

    target = targets()[name]
    document = json.loads(target.seeds[0])
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            place[key] = replacement
            break
        place = inner
    outcome = outcome_of(target.use, json.dumps(document).encode(), tmp_path / "input")
    assert outcome in ("read", "refused")


@pytest.mark.parametrize("name", ["rsna", "manifest"])
@SETTINGS
@given(cells=st.lists(st.text(max_size=12), min_size=1, max_size=12))
def test_tables_of_any_cells(tmp_path: Path, name: str, cells: list[str]) -> None:
    target = targets()[name]
    header = target.seeds[0].split(b"\n")[0]
    content = header + b"\n" + ",".join(cells).encode("utf-8", "surrogatepass") + b"\n"
    assert outcome_of(target.use, content, tmp_path / "input") in ("read", "refused")
