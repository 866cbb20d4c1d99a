import math
from xml.etree import ElementTree

import numpy as np
import pytest

from monai_dgm.report.curves import COLOURS, _vertical_range, charts_of, draw_charts, nonfinite_warnings


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


NAMESPACE = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("length", [1, 2, 30, 5000])
def test_charts_are_well_formed_and_light_and_draw_every_series(length: int) -> None:
    charts = charts_of(history(length))
    for chart, svg in zip(charts, draw_charts(charts), strict=True):
        assert len(svg) < 60_000
        root = ElementTree.fromstring(svg)
        assert root.tag == f"{NAMESPACE}svg"
        text = svg.decode()
        for series, colour in zip(chart.series, COLOURS, strict=False):
            assert colour in text, series.name
        assert "<image" not in text and 'href="http' not in text


def test_a_chart_gives_the_same_file_whatever_was_drawn_before_it() -> None:
    nothing = charts_of([{"iteration": 1, "loss/g": math.nan}])
    charts = [*charts_of(history(70)), *charts_of([{"iteration": 3, "loss/g": -2e-5}]), *nothing]
    alone = [next(draw_charts([chart])) for chart in charts]
    assert list(draw_charts(charts)) == alone and list(draw_charts(charts[::-1])) == alone[::-1]


def test_spikes_of_a_long_training_do_not_set_the_scale() -> None:
    values = np.concatenate([[1e6], np.linspace(1, 2, 499)])
    low, high = _vertical_range(values)
    assert low < 1 and 2 < high < 4
    assert _vertical_range(np.array([3.0])) == (1.5, 4.5) and _vertical_range(np.zeros(2)) == (-0.5, 0.5)


def test_points_that_are_not_finite_are_left_out_and_named() -> None:
    rows = [{"iteration": 1, "loss/g": math.nan}, {"iteration": 2, "loss/g": math.inf}, {"iteration": 3, "loss/g": 0.5}]
    assert charts_of(rows)[0].series[0].y.tolist() == [0.5]
    assert nonfinite_warnings(charts_of(rows)) == ["loss/g (g): 2 points are not finite"]
    assert b"no finite value" in next(draw_charts(charts_of(rows[:2])))


def test_text_flags_and_missing_values_are_no_curves() -> None:
    assert charts_of([{"iteration": 1, "stage": "warm-up", "resumed": True, "loss/g": None}]) == []
