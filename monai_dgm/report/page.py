"""The report: one self-contained HTML file with figures, panels, curves and settings, nothing fetched from anywhere."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monai_dgm import __version__
from monai_dgm.metrics.case_results import MetricRow
from monai_dgm.report import colours
from monai_dgm.report.curves import charts_html, lost_points
from monai_dgm.report.panels import (
    DISCLAIMER,
    LUNG_BOX_WORDS,
    Panel,
    column_title,
    panel_columns,
    panels_scale,
)
from monai_dgm.report.style import STYLE
from monai_dgm.report.tables import cards_html, metrics_html, settings_html
from monai_dgm.utils.atomic import atomic_write

PANEL_BUDGET = 4_000_000
"""Bytes that the panels' pictures may take, so that the page stays under 5 MB."""
_MOST_PIXELS = 256  # side of a picture on the page; larger ones are reduced


def write_report(
    path: str | os.PathLike[str],
    title: str,
    summary: str,
    settings: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    metrics: Sequence[MetricRow],
    panels: Sequence[Panel],
    warnings: Sequence[str],
    notes: Sequence[str],
) -> Path:
    """Write the page, atomically. Every text is escaped; an empty part is left out.

    Args:
        path: file to write, or a folder, into which ``index.html`` is written.
        title: heading.
        summary: what was run, on what, in plain words; an empty line parts paragraphs.
        settings: may be nested; shown folded.
        history: as in :func:`monai_dgm.report.curves.charts_of`.
        metrics: of :func:`monai_dgm.metrics.decomposition.evaluate_decomposition`; the first group is the main one.
        panels: radiographs to show, in order. Those beyond ``PANEL_BUDGET`` bytes are left out, and the page says so.
        warnings: what a reader must know before believing a figure; shown first, notes last.
        notes: one line each.

    Returns:
        The file written.
    """
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        target = target / "index.html"
    shown, left_out = _panels_html(panels)
    remarks = [*notes, f"{left_out} more panels were left out to keep this page light."] if left_out else [*notes]
    page = _document(
        title,
        [
            _header(title, summary),
            "<main>",
            _warnings_html([*warnings, *lost_points(history)]),
            cards_html(metrics),
            shown,
            _section("Figures", metrics_html(metrics), _FIGURES_HINT),
            _section("Curves", charts_html(history), "Against the training iteration."),
            _notes_html(remarks),
            _settings_section(settings),
            "</main>",
            _FOOTER,
        ],
    )
    with atomic_write(target) as partial:
        partial.write_text(page, encoding="utf-8")
    return target


def write_sections(
    path: str | os.PathLike[str],
    title: str,
    summary: str,
    sections: Sequence[tuple[str, str, str]],
    warnings: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Path:
    """Write a page of other sections in the same dress, atomically.

    Args:
        path: folder, into which ``index.html`` is written.
        title, summary: as in :func:`write_report`, escaped.
        sections: (heading, body as HTML that is taken as it is, a line below the heading).
        warnings, notes: as in :func:`write_report`; escaped.

    Returns:
        The file written.
    """
    target = Path(path) / "index.html"
    bodies = [_section(heading, body, hint) for heading, body, hint in sections]
    inside = ["<main>", _warnings_html(warnings), *bodies, _notes_html(notes), "</main>"]
    with atomic_write(target) as partial:
        partial.write_text(_document(title, [_header(title, summary), *inside, _FOOTER]), encoding="utf-8")
    return target


_FIGURES_HINT = (
    "Brackets: 95 % bootstrap interval, patients resampled; ±: standard deviation of the resamples. "
    "Baselines (orange ticks) never look at the residue."
)

_FOOTER = f"<footer><div><strong>{escape(DISCLAIMER)}</strong> monai-dgm {escape(__version__)}</div></footer>"


def _document(title: str, parts: Sequence[str]) -> str:
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _header(title: str, summary: str) -> str:
    paragraphs = "".join(f"<p>{escape(part.strip())}</p>" for part in summary.split("\n\n") if part.strip())
    stamp = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    line = f'<p class="stamp">{escape(DISCLAIMER)} Written {stamp}.</p>'
    return f"<header><div><h1>{escape(title)}</h1>{paragraphs}{line}</div></header>"


def _section(title: str, body: str, hint: str = "", kind: str = "") -> str:
    if not body:
        return ""
    below = f'<p class="hint">{escape(hint)}</p>' if hint else ""
    return f'<section class="{kind}"><h2>{escape(title)}</h2>{below}{body}</section>'


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else ""


def condensed(warnings: Sequence[str]) -> list[str]:
    """Warnings that differ in their numbers only become one, the latest, with how often it came before."""
    alike: dict[str, list[str]] = {}
    for warning in warnings:
        alike.setdefault(re.sub(r"\d+(\.\d+)?", "#", warning), []).append(warning)
    return [same[-1] + (f" ({len(same) - 1} earlier like it)" if len(same) > 1 else "") for same in alike.values()]


def _warnings_html(warnings: Sequence[str]) -> str:
    return (
        _section("Warnings", _list(condensed(warnings)), kind="warnings")
        or '<p class="fine">✓ No warning in this run.</p>'
    )


def _notes_html(notes: Sequence[str]) -> str:
    return _section("Notes", _list(notes), kind="notes")


def _settings_section(settings: Mapping[str, Any]) -> str:
    table = settings_html(settings)
    return f"<section><details><summary>Settings</summary>{table}</details></section>" if table else ""


def _panels_html(panels: Sequence[Panel]) -> tuple[str, int]:
    """Section of the panels, and how many did not fit."""
    if not panels:
        return "", 0
    columns, scale = panel_columns(panels), panels_scale(panels)
    grid = f"grid-template-columns:repeat({len(columns)},1fr)"
    heads = "".join(f"<span>{escape(column_title(name))}</span>" for name in columns)
    metrics, size = [], 0
    for i, panel in enumerate(panels):
        cells = "".join(_cell(panel, name, scale, f"panel-{i}-image") for name in columns)
        size += len(cells)
        if size > PANEL_BUDGET:
            break
        where = escape(LUNG_BOX_WORDS[panel.lung_box_source])
        caption = f"<figcaption>{escape(panel.caption)}<small>{where}</small></figcaption>"
        metrics.append(f'<figure class="panel">{caption}<div class="cells" style="{grid}">{cells}</div></figure>')
    body = f'{_legend(panels, scale)}<div class="heads" style="{grid}">{heads}</div>{"".join(metrics)}'
    hint = "The input is about normal + residue. Point at a saliency picture to lift the heat off the radiograph."
    return _section("Radiographs taken apart", body, hint, "panels"), len(panels) - len(metrics)


def _legend(panels: Sequence[Panel], scale: float) -> str:
    ramp = np.broadcast_to(np.arange(1, 256, dtype=np.uint8), (2, 255))
    bar = colours.data_uri(colours.palette_png(np.ascontiguousarray(ramp), colours.RESIDUE_COLOURS))
    keys = '<span class="key"></span> true opacity boxes' if any(len(panel.boxes) for panel in panels) else ""
    if any(panel.lung_box is not None for panel in panels):
        keys += '<span class="key lungs"></span> lung box'
    ends = (f"−{scale:.2f}", f"+{scale:.2f} residue (0 is black)")
    return f'<div class="scale">{ends[0]} <img src="{bar}" alt="colour scale"> {ends[1]}{keys}</div>'


def _cell(panel: Panel, name: str, scale: float, image_id: str) -> str:
    """A picture of a panel as SVG, boxes drawn over it."""
    plane = getattr(panel, name)
    if plane is None:
        return '<div class="cell unknown">not known</div>'
    rows, cols = plane.shape
    box = f'width="{cols}" height="{rows}"'
    if name == "saliency":
        heat = colours.palette_png(colours.heat_levels(_reduced(plane)), colours.HEAT_COLOURS, colours.heat_alpha())
        body = f'<use href="#{image_id}"/><image class="heat" {box} href="{colours.data_uri(heat)}"/>'
        body += _rectangles([] if panel.lung_box is None else [panel.lung_box], "lungs")
    elif name in ("residue", "true_residue"):
        levels = colours.residue_levels(_reduced(plane), scale)
        body = f'<image {box} href="{colours.data_uri(colours.palette_png(levels, colours.RESIDUE_COLOURS))}"/>'
    else:
        identity = f'id="{image_id}" ' if name == "image" else ""
        png = colours.data_uri(colours.grey_png(colours.grey_levels(_reduced(plane))))
        body = f'<image {identity}{box} href="{png}"/>'
    if name in ("image", "saliency"):
        body += _rectangles(panel.boxes, "box")
    # Where the page is too narrow for the columns' headings, each picture bears its own name.
    place = (
        f'x="{0.03 * cols:.1f}" y="{0.08 * rows:.1f}" font-size="{0.06 * rows:.1f}" stroke-width="{0.01 * rows:.2f}"'
    )
    label = f'<text class="name" {place}>{escape(column_title(name))}</text>'
    return (
        f'<svg class="cell" role="img" aria-label="{escape(column_title(name))}" '
        f'viewBox="0 0 {cols} {rows}">{body}{label}</svg>'
    )


def _rectangles(boxes: Sequence[NDArray[np.float32]] | NDArray[np.float32], kind: str) -> str:
    return "".join(
        f'<rect class="{kind}" x="{xmin:.1f}" y="{ymin:.1f}" width="{xmax - xmin:.1f}" height="{ymax - ymin:.1f}"/>'
        for xmin, ymin, xmax, ymax in (map(float, box) for box in boxes)
    )


def _reduced(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """A plane no larger than the page shows it."""
    longest = max(plane.shape)
    if longest <= _MOST_PIXELS:
        return plane
    size = tuple(max(1, round(side * _MOST_PIXELS / longest)) for side in plane.shape)
    picture = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BOX), dtype=np.float32)
