"""The ways through the package that docs/architecture.md draws are those of the code."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests.test_package import BASE, MAY_IMPORT

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
STEPS = re.findall(r"(?m)^\| [^|]+ \| `([^`]+)` \| `([^`]+)` \|$", TEXT)
ids = [step for step, _ in STEPS]


def source_of(place: str) -> str:
    """Text of ``file`` or of ``file.py:Class.function``."""
    file, _, name = place.partition(":")
    text = (ROOT / file).read_text(encoding="utf-8")
    if not name:
        return text
    body: list[ast.stmt] = ast.parse(text).body
    node: ast.AST | None = None
    for part in name.split("."):
        definitions = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        node = next((one for one in body if isinstance(one, definitions) and one.name == part), None)
        assert node is not None, f"{file} has no {name}"
        body = node.body  # type: ignore[attr-defined]
    return ast.get_source_segment(text, node) or ""


def part_of(place: str) -> str:
    """Folder of the package; "" for the bundles and the app, which may import everything."""
    folders = place.split("/")
    return folders[1].removesuffix(".py") if folders[0] == "monai_dgm" else ""


def test_there_are_four_ways() -> None:
    ways = re.findall(r"(?m)^### (.*)$", TEXT)
    assert len(ways) == 4 and len(STEPS) >= 40


@pytest.mark.parametrize(("step", "caller"), STEPS, ids=ids)
def test_a_step_exists_and_its_caller_names_it(step: str, caller: str) -> None:
    assert source_of(step)
    last = re.split(r"[.:]", step)[-1]
    words = {last}
    if step.startswith("apps/radiology_dgm/lib/") and caller.endswith("server.py"):
        words = {Path(step.split(":")[0]).stem, "router"}  # routes are declared by decorators
    if caller.endswith(".js"):
        words = {"dgm/boxes"}  # the route's address
    source = source_of(caller)
    assert any(re.search(rf"\b{word}\b", source) for word in words), f"{caller} does not name {last}"


@pytest.mark.parametrize(("step", "caller"), STEPS, ids=ids)
def test_no_step_goes_back_up(step: str, caller: str) -> None:
    own, called = part_of(caller), part_of(step)
    if own:
        assert called in MAY_IMPORT[own] | BASE | {own}, f"{caller} is below {step}"
    elif caller.startswith("apps/"):
        assert not step.startswith("bundles/")


def test_every_place_in_the_text_exists() -> None:
    for place in re.findall(r"`((?:monai_dgm|apps|bundles)/[^`]*)`", TEXT):
        file = place.partition(":")[0]
        if "NAME" not in file:
            assert (ROOT / file).exists(), place
            source_of(place) if ":" in place else None


def test_the_picture_has_every_part_and_no_arrow_against_the_imports() -> None:
    picture = TEXT.split("```mermaid")[1].split("```")[0]
    for part in set(MAY_IMPORT) - BASE:
        assert f"<b>{part}</b>" in picture, part
    for line in picture.splitlines():
        nodes = [node for node in re.split(r"\s*-->\s*", line.strip()) if re.fullmatch(r"\w+", node)]
        for below, above in pairwise(nodes):
            if above in MAY_IMPORT and below in MAY_IMPORT:
                assert below in MAY_IMPORT[above], f"{above} may not import {below}"


def test_contributing_has_the_parts_and_what_they_may_import() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"(?m)^\| `(?:monai_dgm/)?(\w+)/` \| [^|]* \| ([^|]*) \|$", text))
    for part in set(MAY_IMPORT) - BASE:
        named = {name.strip() for name in rows[part].split(",") if name.strip() not in ("", "-")}
        assert named == MAY_IMPORT[part], part
