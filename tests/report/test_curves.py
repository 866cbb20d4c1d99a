import math
from xml.etree import ElementTree

import numpy as np
import pytest

from monai_dgm.report.curves import chart_svg, charts_html, charts_of, lost_points, nice_ticks


def history(length: int) -> list[dict[str, float]]:
    rng = np.random.default_rng(0)
    rows = []
    for i in range(length):
        row = {"iteration": 10 * i, "epoch": i // 4, "loss/total": 1 / (1 + i) + 0.1 * rng.normal()}
        row |= {"loss/real_score_0": 0.6, "loss/fake_score_0": 0.4, "collapse/normal_std": 0.9}
        if i % 5 == 0:
            row |= {"validation/opacity/ap": 0.3, "validation/opacity/pointing": 0.5}
        rows.append(row)
    return rows


def test_names_are_grouped_by_prefix_and_partners_share_a_chart() -> None:
    charts = {(chart.group, chart.title): [series.name for series in chart.series] for chart in charts_of(history(10))}
    assert charts == {
        ("loss", "total"): ["total"],
        ("loss", "score_0"): ["real", "fake"],
        ("collapse", "normal_std"): ["normal_std"],
        ("validation", "opacity"): ["ap", "pointing"],
    }


def test_series_keep_their_own_iterations() -> None:
    validation = charts_of(history(11))[-1].series[0]
    assert validation.x.tolist() == [0, 50, 100]


@pytest.mark.parametrize("length", [1, 2, 30, 5000])
def test_charts_are_well_formed_light_and_inside_their_frame(length: int) -> None:
    for chart in charts_of(history(length)):
        svg = chart_svg(chart)
        assert len(svg) < 30_000
        root = ElementTree.fromstring(svg)
        for line in root.iter("polyline"):
            points = np.array([[float(v) for v in pair.split(",")] for pair in line.attrib["points"].split()])
            assert points[:, 0].min() >= 40 and points[:, 0].max() <= 320
            assert points[:, 1].min() >= 0 and points[:, 1].max() <= 170


def test_points_that_are_not_finite_are_left_out_and_named() -> None:
    rows = [{"iteration": 1, "loss/g": math.nan}, {"iteration": 2, "loss/g": math.inf}, {"iteration": 3, "loss/g": 0.5}]
    assert charts_of(rows)[0].series[0].y.tolist() == [0.5]
    assert lost_points(rows) == ["loss/g (g): 2 points are not finite"]
    assert "no finite value" in charts_html(rows[:2])


def test_text_flags_and_missing_values_are_no_curves() -> None:
    assert charts_of([{"iteration": 1, "stage": "warm-up", "resumed": True, "loss/g": None}]) == []
    assert charts_html([]) == ""


def test_names_are_escaped() -> None:
    html = charts_html([{"iteration": 1, "<b>/<i>&": 1.0}])
    assert "<b>/" not in html and "<i>" not in html and "&lt;i&gt;&amp;" in html


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.013, 0.4), (1e-7, 3e-7), (-5000, 123456)])
def test_ticks_are_few_and_span_the_range(low: float, high: float) -> None:
    ticks = nice_ticks(low, high, 4)
    assert 3 <= len(ticks) <= 7
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + 1e-6 * step and ticks[-1] >= high - 1e-6 * step
