"""The figures of an evaluation in words, with their intervals and baselines beside, and the settings, as HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from monai_dgm.metrics.records import MetricRow

BASELINE = "/baseline_"


@dataclass(frozen=True)
class Words:
    """How a figure is called on the page, what it means, its unit interval and which way is better."""

    label: str
    meaning: str
    in_unit_interval: bool = True
    better: str = "higher"


METRIC_WORDS: dict[str, Words] = {
    "head_auc": Words("Abnormality head, AUC", "normal against abnormal by the head on the residue encoder"),
    "head_ap": Words("Abnormality head, average precision", "abnormal is the positive class"),
    "residue_auc": Words("Mean |a|, AUC", "normal against abnormal by the strength of the residue alone"),
    "residue_ap": Words("Mean |a|, average precision", "abnormal is the positive class"),
    "residue_mean_normal": Words("Mean |a| on normals", "should be blank", False, "lower"),
    "residue_mean_abnormal": Words("Mean |a| on abnormals", "the disease that was taken out", False, ""),
    "residue_ratio": Words("|a| abnormal over normal", "ratio of the two means", False),
    "residue_pixel_ap": Words(
        "Residue, pixel average precision", "|a| against the opacity mask, the pixels of all images with one pooled"
    ),
    "residue_pixel_ap_image_mean": Words(
        "Residue, pixel average precision, mean of images", "as above, image by image, then averaged"
    ),
    "residue_pixel_ap_smoothed": Words(
        "Smoothed residue, pixel average precision", "pooled, |a| after a Gaussian of side / 64"
    ),
    "pointing_game": Words("Pointing game", "the strongest point of the smoothed |a| lies in an opacity"),
    "normal_ssim": Words("Normal image to input, SSIM", "on normals, where the normal image should be the input"),
    "normal_l1": Words("Normal image to input, L1", "on normals", False, "lower"),
    "lesion_error_reduction": Words(
        "Error taken out of lesions", "share of the L1 to the true normal over the lesion that the normal image removes"
    ),
    "lesion_l1_image": Words("Lesion L1, input to true normal", "what the disease changed", False, ""),
    "lesion_l1_normal": Words("Lesion L1, normal image to true normal", "what is left of it", False, "lower"),
    "outside_lesion_l1_normal": Words("L1 outside lesions", "normal image to true normal", False, "lower"),
    "normal_spread_ratio": Words(
        "Spread of normal images over that of inputs", "0 when every patient gets the same normal, 1 is the inputs'"
    ),
    "sharpness_ratio": Words(
        "Sharpness of normal images", "gradient energy over the inputs' on normals; 0 is blurred, 1 as sharp", False, ""
    ),
}
_CARDS = (
    "head_auc",
    "residue_pixel_ap",
    "pointing_game",
    "residue_ratio",
    "lesion_error_reduction",
    "normal_ssim",
    "normal_spread_ratio",
)
_MOST_CARDS = 6


def words_for(name: str) -> Words:
    """Words of a figure; of an unknown one its own name."""
    return METRIC_WORDS.get(name, Words(name.replace("_", " "), "", False, ""))


def number(value: float, digits: int = 3) -> str:
    """``value`` with three decimals (four significant digits when small), a dash for NaN, a true minus sign."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"
    return text.replace("-", "−")


def cards_html(rows: Sequence[MetricRow]) -> str:
    """The main figures of the first group, large."""
    if not rows:
        return ""
    group = rows[0].group
    own = {row.name: row for row in rows if row.group == group}
    cards = []
    for name in [name for name in _CARDS if name in own][:_MOST_CARDS]:
        row, best = own[name], _best_baseline(name, own)
        under = f"best baseline {escape(_baseline_label(best.name))} {number(best.value)}" if best else ""
        cards.append(
            f'<div class="card"><span class="label">{escape(words_for(name).label)}</span>'
            f'<span class="value">{number(row.value)}</span>'
            f'<span class="interval">{_interval(row)}</span><span class="under">{under}</span></div>'
        )
    return f'<div class="cards">{"".join(cards)}</div>'


def _best_baseline(name: str, own: Mapping[str, MetricRow]) -> MetricRow | None:
    rivals = [row for key, row in own.items() if key.startswith(name + BASELINE) and math.isfinite(row.value)]
    return max(rivals, key=lambda row: row.value, default=None)


def _baseline_label(name: str) -> str:
    return name.rpartition(BASELINE)[2].replace("_", " ")


def _interval(row: MetricRow) -> str:
    return f"[{number(row.low)}, {number(row.high)}]" if math.isfinite(row.low) else ""


def metrics_html(rows: Sequence[MetricRow]) -> str:
    """One table a group; the first is open."""
    groups: dict[str, list[MetricRow]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    parts = []
    for i, (group, members) in enumerate(groups.items()):
        most = max(row.num_images for row in members)
        body = _table(members)
        name = escape(group.replace(":", ": "))
        parts.append(
            f'<details{" open" if i == 0 else ""}><summary>{name} <small>{most} images</small></summary>{body}</details>'
        )
    return "".join(parts)


def _table(rows: Iterable[MetricRow]) -> str:
    own: dict[str, MetricRow] = {}
    rivals: dict[str, list[MetricRow]] = {}
    for row in rows:
        name, _, baseline = row.name.partition(BASELINE)
        if baseline:
            rivals.setdefault(name, []).append(row)
        else:
            own[name] = row
    lines = "".join(_line(row, rivals.get(name, [])) for name, row in own.items())
    head = "<th>figure</th><th class='n'>value</th><th>95 % interval</th><th></th><th class='n'>±</th>"
    head += "<th>baselines</th><th class='n'>images</th><th class='n'>patients</th>"
    return f'<div class="wide"><table class="metrics"><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _line(row: MetricRow, rivals: Sequence[MetricRow]) -> str:
    words = words_for(row.name)
    arrow = {"higher": "↑", "lower": "↓"}.get(words.better, "")
    note = f'<span class="note">{escape(row.note)}</span>' if row.note else ""
    chips = "".join(_chip(rival) for rival in rivals)
    bar = _bar(row, rivals) if words.in_unit_interval and math.isfinite(row.value) else ""
    return (
        f'<tr><td><b>{escape(words.label)}</b> <span class="arrow">{arrow}</span>'
        f'<span class="meaning">{escape(words.meaning)}</span>{note}</td>'
        f'<td class="n main">{number(row.value)}</td><td class="nowrap">{_interval(row)}</td><td>{bar}</td>'
        f'<td class="n">{number(row.spread)}</td><td>{chips}</td>'
        f'<td class="n">{row.num_images}</td><td class="n">{row.num_patients}</td></tr>'
    )


def _chip(rival: MetricRow) -> str:
    title = escape(f"{_interval(rival)} on {rival.num_images} images. {rival.note}", quote=True)
    label = escape(_baseline_label(rival.name))
    return f'<span class="chip" title="{title}">{label} <b>{number(rival.value)}</b> {_interval(rival)}</span>'


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
    """Settings as a two-column table, nested ones with dotted names."""
    lines = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(str(value))}</td></tr>" for name, value in _flat(settings)
    )
    return f'<table class="settings"><tbody>{lines}</tbody></table>' if lines else ""


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found
