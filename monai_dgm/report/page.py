"""The report: one self-contained HTML file with metrics, panels, curves and settings. It fetches nothing."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monai_dgm import __version__
from monai_dgm.metrics.case_results import MetricRow
from monai_dgm.report import colours, curves
from monai_dgm.report.panels import COLUMN_TITLES, DISCLAIMER, LUNG_BOX_WORDS, Panel, panel_columns, panels_scale
from monai_dgm.utils.atomic import write_text

PANEL_BUDGET = 4_000_000
"""Bytes that the pictures of the panels may take, so that the page stays under 5 MB."""
_LARGEST_SIDE = 256  # pixels of a picture on the page; larger planes are reduced
_BASELINE = "/baseline_"
_NAMES = json.loads(Path(__file__).with_name("metric_names.json").read_text(encoding="utf-8"))
# label and meaning of a metric; which values are "better"; "unit_interval": in [0, 1], so that it is drawn on a line
_KNOWN = {name: words for section in _NAMES["sections"].values() for name, words in section.items()}
_TEMPLATES = Path(__file__).parent / "templates"


def render(name: str, *folders: Path, **values: Any) -> str:
    """The text of a template. Every value is escaped in HTML; a name that the template lacks a value for is an error.

    Args:
        name: file of the template.
        folders: searched before the report's own folder of templates.
        values: what the template shows.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader([*folders, _TEMPLATES]),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.globals |= {"disclaimer": DISCLAIMER, "version": __version__, "isfinite": math.isfinite}
    return environment.get_template(name).render(
        written=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"), **values
    )


def write_page(
    path: str | os.PathLike[str],
    template: str,
    *folders: Path,
    title: str,
    summary: str,
    warnings: Sequence[str] = (),
    notes: Sequence[str] = (),
    **values: Any,
) -> Path:
    """Write a page in the report's style, atomically.

    Args:
        path: file to write, or a folder, into which ``index.html`` is written.
        template: file that extends ``base.html``.
        folders: where the template is, for others than the report's own.
        title: heading.
        summary: what was run, on what, in plain words; an empty line separates paragraphs.
        warnings: what a reader must know before believing a metric; shown first.
        notes: one line each; shown last.
        values: what else the template shows.

    Returns:
        The file written.
    """
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        target = target / "index.html"
    paragraphs = [part.strip() for part in summary.split("\n\n") if part.strip()]
    text = render(
        template, *folders, title=title, paragraphs=paragraphs, warnings=merged(warnings), notes=notes, **values
    )
    write_text(target, text)
    return target


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
    """Write the page of a training or an evaluation. An empty part is left out.

    Args:
        path, title, summary, warnings, notes: as in :func:`write_page`.
        settings: may be nested; shown folded.
        history: as in :func:`monai_dgm.report.curves.charts_of`.
        metrics: of :func:`monai_dgm.metrics.decomposition.evaluate_decomposition`; the first group is the main one.
        panels: radiographs to show, in order. Those beyond ``PANEL_BUDGET`` bytes are left out, and the page says so.

    Returns:
        The file written.
    """
    charts = curves.charts_of(history)
    cells = [(chart, _chart(chart, svg)) for chart, svg in zip(charts, curves.draw_charts(charts), strict=True)]
    columns, scale = panel_columns(panels), panels_scale(panels) if panels else 0.0
    shown = list(_within_budget(panels, columns, scale))
    left_out = len(panels) - len(shown)
    ramp = np.broadcast_to(np.arange(1, 256, dtype=np.uint8), (2, 255))
    return write_page(
        path,
        "report.html",
        title=title,
        summary=summary,
        warnings=[*warnings, *curves.nonfinite_warnings(charts)],
        notes=[*notes, *([f"{left_out} more panels were left out to keep this page light."] if left_out else [])],
        cards=_cards(metrics),
        panels=shown,
        columns=[COLUMN_TITLES[name] for name in columns],
        scale=scale,
        scale_bar=_palette_uri(np.ascontiguousarray(ramp), colours.RESIDUE_COLOURS),
        has_boxes=any(len(panel.boxes) for panel in panels),
        has_lung_boxes=any(panel.lung_box is not None for panel in panels),
        groups=_groups(metrics),
        chart_groups={
            group.replace("_", " "): [cell for chart, cell in cells if chart.group == group]
            for group in dict.fromkeys(chart.group for chart in charts)
        },
        settings=_flat(settings),
    )


def number(value: float, digits: int = 3) -> str:
    """``value`` with three decimals (two significant digits when below 0.01), a dash for NaN, a true minus sign."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    if value != 0 and abs(value) < 0.01:
        text = f"{value:.2g}" if abs(value) >= 1e-4 else f"{value:.0e}"
    return text.replace("-", "−")


def merged(warnings: Sequence[str]) -> list[str]:
    """Warnings that differ in their numbers only become one: the latest, with the count of the earlier ones."""
    alike: dict[str, list[str]] = {}
    for warning in warnings:
        alike.setdefault(re.sub(r"\d+(\.\d+)?", "#", warning), []).append(warning)
    return [same[-1] + (f" ({len(same) - 1} earlier like it)" if len(same) > 1 else "") for same in alike.values()]


def _cards(rows: Sequence[MetricRow]) -> list[dict[str, Any]]:
    """The main metrics of the first group, each with its best baseline."""
    own = {row.name: row for row in rows if row.group == rows[0].group}
    names = [name for name in _NAMES["cards"] if name in own and math.isfinite(own[name].value)][:6]
    return [
        {
            "label": _NAMES["cards"][name],
            "row": own[name],
            "best": max(
                (b for b in _baselines(name, list(own.values())) if math.isfinite(b["row"].value)),
                key=lambda baseline: baseline["row"].value,
                default=None,
            ),
        }
        for name in names
    ]


def _baselines(name: str, rows: Sequence[MetricRow]) -> list[dict[str, Any]]:
    found = [row for row in rows if row.name.startswith(name + _BASELINE)]
    return [{"label": row.name.rpartition(_BASELINE)[2].replace("_", " "), "row": row} for row in found]


def _groups(rows: Sequence[MetricRow]) -> list[dict[str, Any]]:
    """One table for each group of images: sections of lines, a line for each metric with its baselines."""
    groups: dict[str, list[MetricRow]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    tables = []
    for group, members in groups.items():
        own = {row.name: row for row in members if _BASELINE not in row.name}
        named = {section: [name for name in names if name in own] for section, names in _NAMES["sections"].items()}
        named["Other metrics"] = [name for name in own if name not in _KNOWN]
        sections = {
            section: [
                {"row": own[name], "words": _words(name), "baselines": _baselines(name, members)} for name in names
            ]
            for section, names in named.items()
            if names
        }
        num_images = max(row.num_images for row in members)
        tables.append({"name": group.replace(":", ": "), "num_images": num_images, "sections": sections})
    return tables


def _words(metric: str) -> dict[str, Any]:
    """How a metric is called on the page; an unknown metric keeps its own name."""
    unknown = {"label": metric.replace("_", " ").replace("/", ", "), "better": "", "unit_interval": False}
    return {"meaning": "", "better": "higher", "unit_interval": True, **_KNOWN.get(metric, unknown)}


def _chart(chart: curves.Chart, svg: bytes) -> dict[str, Any]:
    drawn = [series for series in chart.series if series.x.size]
    alone = len(chart.series) == 1 and chart.series[0].name == chart.title
    palette = curves.COLOURS * (len(drawn) or 1)
    return {
        "title": chart.title.replace("_", " "),
        "picture": colours.data_uri(svg, "svg+xml"),
        "series": [
            {"name": "" if alone else series.name.replace("_", " "), "last": f"{series.y[-1]:.4g}", "colour": colour}
            for series, colour in zip(drawn, palette, strict=False)
        ],
    }


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """(dotted name, value) of nested settings."""
    found: list[tuple[str, Any]] = []
    for name, value in settings.items():
        found += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) and value else [(prefix + name, value)]
    return found


def _within_budget(panels: Sequence[Panel], columns: Sequence[str], scale: float) -> Iterator[dict[str, Any]]:
    """Panels with their pictures, as many as ``PANEL_BUDGET`` allows."""
    size = 0
    for panel in panels:
        cells = [_cell(panel, name, scale) for name in columns]
        size += sum(len(cell["picture"]) for cell in cells)
        if size > PANEL_BUDGET:
            return
        yield {"caption": panel.caption, "lung_box_words": LUNG_BOX_WORDS[panel.lung_box_source], "cells": cells}


def _cell(panel: Panel, name: str, scale: float) -> dict[str, Any]:
    """A picture of a panel with the boxes over it; no picture where the plane is not known."""
    plane, picture = getattr(panel, name), ""
    if plane is not None and name == "saliency":
        picture = _palette_uri(colours.heat_levels(_reduced(plane)), colours.HEAT_COLOURS, colours.heat_alpha())
    elif plane is not None and name in ("residue", "true_residue"):
        picture = _palette_uri(colours.residue_levels(_reduced(plane), scale), colours.RESIDUE_COLOURS)
    elif plane is not None:
        picture = colours.data_uri(colours.grey_png(colours.grey_levels(_reduced(plane))))
    lung_boxes = [panel.lung_box] if name == "saliency" and panel.lung_box is not None else []
    return {
        "name": name,
        "title": COLUMN_TITLES[name],
        "rows": panel.image.shape[0],
        "cols": panel.image.shape[1],
        "picture": picture,
        "boxes": _corners(panel.boxes if name in ("image", "saliency") else []),
        "lung_boxes": _corners(lung_boxes),
    }


def _palette_uri(index: NDArray[np.uint8], palette: NDArray[np.uint8], alpha: NDArray[np.uint8] | None = None) -> str:
    return colours.data_uri(colours.palette_png(index, palette, alpha))


def _corners(boxes: Sequence[NDArray[np.float32]] | NDArray[np.float32]) -> list[list[float]]:
    """Boxes as (x, y, width, height)."""
    return [[round(float(v), 1) for v in (box[0], box[1], box[2] - box[0], box[3] - box[1])] for box in boxes]


def _reduced(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """A plane with a longest side of at most ``_LARGEST_SIDE`` pixels."""
    longest = max(plane.shape)
    if longest <= _LARGEST_SIDE:
        return plane
    rows, cols = (max(1, round(side * _LARGEST_SIDE / longest)) for side in plane.shape)
    picture = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return np.asarray(picture.resize((cols, rows), Image.Resampling.BOX), dtype=np.float32)
