import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from monai_dgm.metrics.case_results import MetricRow
from monai_dgm.report import page
from monai_dgm.report.page import merged, number, write_report
from monai_dgm.report.panels import DISCLAIMER, Panel

SIZE = 48
EVIL = "<script>alert('x')</script> & \"quoted\""


def a_panel(seed: int = 0, size: int = SIZE) -> Panel:
    rng = np.random.default_rng(seed)
    image = rng.uniform(-1, 1, (size, size)).astype(np.float32)
    residue = rng.normal(0, 0.1, (size, size)).astype(np.float32)
    boxes = np.array([[10, 4, 20, 12]], dtype=np.float32)
    return Panel(image, image - residue, residue, np.abs(residue), boxes, f"panel {seed}")


def row(name: str, value: float, group: str = "all", note: str = "") -> MetricRow:
    return MetricRow(name, group, value, value - 0.1, value + 0.1, 0.03, 40, 30, note)


ROWS = [
    row("head_auc", 0.912),
    row("residue_pixel_ap", 0.62),
    row("residue_pixel_ap/baseline_lung_mask", 0.21, note="residue on these images 0.620"),
    replace(row("residue_ratio", math.nan, note="only one class present"), low=math.nan, high=math.nan),
    row("head_auc", 0.85, group="source:nih"),
    row("something_new", 3.0),
]
HISTORY = [{"iteration": i, "epoch": 0, "loss/total": 1 / (i + 1)} for i in range(20)]


def written(folder: Path, **changes: object) -> str:
    parts: dict = {
        "title": "A run",
        "summary": "First.\n\nSecond.",
        "settings": {"network": {"width": 64}, "lr": 1e-4},
        "history": HISTORY,
        "metrics": ROWS,
        "panels": [a_panel(0), a_panel(1)],
        "warnings": [],
        "notes": ["a note"],
    }
    return write_report(folder / "index.html", **(parts | changes)).read_text(encoding="utf-8")


class Checker(HTMLParser):
    """Collects addresses and ids, and checks that elements close in order."""

    void = frozenset({"meta", "br", "img", "link", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.addresses.append(value)
            if name == "id" and value:
                self.ids.append(value)
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.void:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    return checker


def test_page_is_well_formed_self_contained_and_disclaims(tmp_path: Path) -> None:
    html = written(tmp_path)
    checker = parsed(html)
    assert html.startswith("<!DOCTYPE html>") and html.count(DISCLAIMER) >= 2
    assert all(
        address.startswith(("data:image/png;base64,", "data:image/svg+xml;base64,", "#"))
        for address in checker.addresses
    )
    rest = re.sub(r"data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+", "", html)
    assert "//" not in rest and "url(" not in rest and "@import" not in rest, "nothing is fetched from anywhere"
    assert "script" not in checker.tags
    assert len(set(checker.ids)) == len(checker.ids)
    assert {a[1:] for a in checker.addresses if a[0] == "#"} <= set(checker.ids)


def test_metrics_curves_settings_and_notes_are_on_it(tmp_path: Path) -> None:
    html = written(tmp_path)
    for text in (
        "0.912",
        "[0.812, 1.012]",
        "lung mask",
        "0.210",
        "only one class present",
        "source: nih",
        "network.width",
    ):
        assert text in html, text
    assert "something new" in html, "a metric without a display name keeps its own"
    assert html.count("data:image/svg+xml") == 1 and "a note" in html and "<p>Second.</p>" in html
    assert "No warning" in html


def test_metrics_stand_in_their_sections_once_and_unknown_ones_in_the_last() -> None:
    rows = [row("residue_pixel_ap", 0.6), row("other", 1.0), row("residue_pixel_ap/above_mean_box_prior", 0.2)]
    rows += [row("pointing_game", 0.8), row("identity_error_normal", 0.01)]
    sections = page._groups(rows)[0]["sections"]
    found = [line["row"].name for lines in sections.values() for line in lines]
    assert sorted(found) == sorted(row.name for row in rows)
    assert [line["row"].name for line in sections["Other metrics"]] == ["other"]
    names = [name for section in page._NAMES["sections"].values() for name in section]
    assert len(names) == len(set(names)) == len(page._KNOWN)


def test_every_text_is_escaped(tmp_path: Path) -> None:
    html = written(
        tmp_path,
        title=EVIL,
        summary=EVIL,
        settings={EVIL: {EVIL: EVIL}},
        history=[{"iteration": 0, f"loss/{EVIL}": 1.0}, {"iteration": 1, f"loss/{EVIL}": math.nan}],
        metrics=[
            row(EVIL, 0.5, EVIL, EVIL),
            row("head_auc", 0.5, EVIL),
            row("head_auc/baseline_" + EVIL, 0.5, EVIL, EVIL),
        ],
        panels=[replace(a_panel(), caption=EVIL)],
        warnings=[EVIL],
        notes=[EVIL],
    )
    parsed(html)
    assert "<script" not in html and 'alert("' not in html and "&lt;script&gt;" in html


def test_empty_run_still_gives_a_page(tmp_path: Path) -> None:
    html = written(tmp_path, summary="", settings={}, history=[], metrics=[], panels=[], notes=[])
    parsed(html)
    assert "<section" not in html and DISCLAIMER in html


def test_folder_gets_an_index_and_a_rewrite_replaces_it(tmp_path: Path) -> None:
    arguments = ("summary", {}, [], [], [], [], [])
    first = write_report(tmp_path / "report", "one", *arguments)  # type: ignore[arg-type]
    second = write_report(tmp_path / "report", "two", *arguments)  # type: ignore[arg-type]
    assert first == second == tmp_path / "report" / "index.html"
    assert "<title>two</title>" in second.read_text(encoding="utf-8")
    assert [path.name for path in second.parent.iterdir()] == ["index.html"]


def test_a_failed_write_leaves_the_old_page(tmp_path: Path) -> None:
    before = written(tmp_path)
    broken = replace(a_panel(), image=np.zeros(3, dtype=np.float32))
    with pytest.raises(IndexError):
        written(tmp_path, panels=[broken])
    assert (tmp_path / "index.html").read_text(encoding="utf-8") == before


def test_page_stays_light_and_says_what_it_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = written(tmp_path, panels=[a_panel(0, size=600)])
    assert len(large) < 600_000
    monkeypatch.setattr(page, "PANEL_BUDGET", 60_000)
    html = written(tmp_path, panels=[a_panel(i) for i in range(12)])
    shown = html.count('<figure class="panel">')
    assert 0 < shown < 12
    assert f"{12 - shown} more panels were left out" in html


def test_diverged_values_do_not_break_the_page(tmp_path: Path) -> None:
    nan = np.full((SIZE, SIZE), np.nan, dtype=np.float32)
    panel = replace(a_panel(), normal=nan, residue=nan, saliency=np.zeros((SIZE, SIZE), dtype=np.float32))
    html = written(tmp_path, panels=[panel], history=[{"iteration": 0, "loss/g": math.nan}])
    parsed(html)
    assert "loss/g (g): 1 points are not finite" in html


def test_warnings_that_repeat_become_one() -> None:
    warnings = [f"iteration {i}: mean |a| {i / 1000:.4f}" for i in range(100, 900, 100)] + ["other"]
    assert merged(warnings) == ["iteration 800: mean |a| 0.8000 (7 earlier like it)", "other"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.500"), (0.00123, "0.0012"), (2e-7, "2e−07"), (-1.5, "−1.500"), (0, "0.000"), (math.nan, "–")],
)
def test_numbers_read_well(value: float, text: str) -> None:
    assert number(value) == text
