"""The figures of an evaluation with their intervals and the baselines beside, and the settings, as HTML."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from monai_dgm.metrics.case_results import MetricRow
from monai_dgm.report.display_names import (
    BASELINES,
    CARDS,
    METRIC_SECTIONS,
    display_name_of,
    section_of,
    sections_order,
)

BASELINE = "/baseline_"
_MOST_CARDS = 6


def number(value: float, digits: int = 3) -> str:
    """``value`` with three decimals (two significant digits when below 0.01), a dash for NaN, a true minus sign."""
    if not math.isfinite(value):
        return "–"
    if value != 0 and abs(value) < 0.01:
        text = f"{value:.2g}" if abs(value) >= 1e-4 else f"{value:.0e}"
    else:
        text = f"{value:.{digits}f}"
    return text.replace("-", "−")


def _interval(row: MetricRow) -> str:
    return f"[{number(row.low)}, {number(row.high)}]" if math.isfinite(row.low) else ""


def cards_html(rows: Sequence[MetricRow]) -> str:
    """The main figures of the first group, large, with the best baseline of each."""
    if not rows:
        return ""
    own = {row.name: row for row in rows if row.group == rows[0].group}
    shown = [name for name in CARDS if name in own and math.isfinite(own[name].value)][:_MOST_CARDS]
    cards = []
    for name in shown:
        best = _best_baseline(name, own)
        under = f"best baseline: {escape(_baseline_label(best))} {number(best.value)}" if best else ""
        cards.append(
            f'<div class="card"><span class="label">{escape(CARDS[name])}</span>'
            f'<span class="value">{number(own[name].value)}</span>'
            f'<span class="interval">{_interval(own[name])}</span><span class="under">{under}</span></div>'
        )
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


def _best_baseline(name: str, own: Mapping[str, MetricRow]) -> MetricRow | None:
    rivals = [row for key, row in own.items() if key.startswith(name + BASELINE) and math.isfinite(row.value)]
    return max(rivals, key=lambda row: row.value, default=None)


def _baseline_label(row: MetricRow) -> str:
    name = row.name.rpartition(BASELINE)[2]
    return BASELINES.get(name, name.replace("_", " "))


def metrics_html(rows: Sequence[MetricRow]) -> str:
    """One table a group; the first is open."""
    groups: dict[str, list[MetricRow]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    parts = []
    for i, (group, members) in enumerate(groups.items()):
        most = max(row.num_images for row in members)
        state = " open" if i == 0 else ""
        heading = f"<summary>{escape(group.replace(':', ': '))} <small>{most} images</small></summary>"
        parts.append(f"<details{state}>{heading}{_table(members)}</details>")
    return "".join(parts)


_HEAD = (
    "<thead><tr><th>figure</th><th class='n'>value</th><th>95 % interval</th><th></th><th class='n'>±</th>"
    "<th>baselines</th><th class='n'>images</th><th class='n'>patients</th></tr></thead>"
)


def _table(rows: Sequence[MetricRow]) -> str:
    rivals: dict[str, list[MetricRow]] = {}
    sections: dict[str, list[MetricRow]] = {section: [] for section in sections_order()}
    for row in rows:
        name, _, baseline = row.name.partition(BASELINE)
        if baseline:
            rivals.setdefault(name, []).append(row)
        else:
            sections[section_of(name)].append(row)
    body = ""
    for section, members in sections.items():
        if members:
            body += f'<tr class="section"><td colspan="8">{escape(section)}</td></tr>'
            body += "".join(_line(row, rivals.get(row.name, [])) for row in _ordered(section, members))
    return f'<div class="wide"><table class="metrics">{_HEAD}<tbody>{body}</tbody></table></div>'


def _ordered(section: str, rows: Sequence[MetricRow]) -> list[MetricRow]:
    order = list(METRIC_SECTIONS.get(section, {}))
    return sorted(rows, key=lambda row: order.index(row.name) if row.name in order else len(order))


def _line(row: MetricRow, rivals: Sequence[MetricRow]) -> str:
    words = display_name_of(row.name)
    arrow = {"higher": "↑", "lower": "↓"}.get(words.better, "")
    hint = f"{words.better} is better" if arrow else ""
    note = f'<span class="note">{escape(row.note)}</span>' if row.note else ""
    chips = "".join(_chip(rival, row) for rival in rivals)
    bar = _bar(row, rivals) if words.unit_interval and math.isfinite(row.value) else ""
    return (
        f'<tr><td><b>{escape(words.label)}</b>&nbsp;<span class="arrow" title="{hint}">{arrow}</span>'
        f'<span class="meaning">{escape(words.meaning)}</span>{note}</td>'
        f'<td class="n main">{number(row.value)}</td><td class="nowrap">{_interval(row)}</td><td>{bar}</td>'
        f'<td class="n">{number(row.std)}</td><td>{chips}</td>'
        f'<td class="n">{row.num_images}</td><td class="n">{row.num_patients}</td></tr>'
    )


def _chip(rival: MetricRow, row: MetricRow) -> str:
    """A baseline beside its figure; how many images it exists for where it is not all of them."""
    fewer = f" <i>{rival.num_images} images</i>" if rival.num_images != row.num_images else ""
    return (
        f'<span class="chip" title="{escape(rival.note, quote=True)}">{escape(_baseline_label(rival))} '
        f"<b>{number(rival.value)}</b> {_interval(rival)}{fewer}</span>"
    )


def _bar(row: MetricRow, rivals: Sequence[MetricRow]) -> str:
    """The value and its interval on a line from 0 to 1, baselines as ticks."""

    def at(value: float) -> float:
        return 4 + 112 * min(max(value, 0.0), 1.0)

    ticks = "".join(
        f'<line class="rival" x1="{at(r.value):.1f}" x2="{at(r.value):.1f}" y1="3" y2="15"/>'
        for r in rivals
        if math.isfinite(r.value)
    )
    span = ""
    if math.isfinite(row.low):
        span = f'<line class="span" x1="{at(row.low):.1f}" x2="{at(row.high):.1f}" y1="9" y2="9"/>'
    return (
        '<svg class="bar" viewBox="0 0 120 18" aria-hidden="true"><line class="axis" x1="4" x2="116" y1="9" y2="9"/>'
        f'{ticks}{span}<circle cx="{at(row.value):.1f}" cy="9" r="3.5"/></svg>'
    )


def settings_html(settings: Mapping[str, Any]) -> str:
    """Settings as a two-column table, nested ones with dotted names; empty for none."""
    lines = "".join(f"<tr><td>{escape(name)}</td><td>{escape(str(value))}</td></tr>" for name, value in _flat(settings))
    return f'<table class="settings"><tbody>{lines}</tbody></table>' if lines else ""


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found
