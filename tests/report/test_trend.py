import datetime as dt
import io
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import dates as mdates
from matplotlib.figure import Figure
from PIL import Image

from monai_dgm.errors import InputError
from monai_dgm.metrics.burden import residue_burden
from monai_dgm.report import trend
from monai_dgm.report.panels import DISCLAIMER
from monai_dgm.report.trend import MOST_THUMBNAILS, TrendPoint, in_order, trend_figure

SIZE = 24


def a_point(date: dt.date | str = "2024-03-01", strength: float = 0.5, **changes: object) -> TrendPoint:
    """Residue of ``strength`` in the upper right lung; lungs and a spacing of 4 mm are known."""
    residue, lungs = np.zeros((SIZE, SIZE), np.float32), np.zeros((SIZE, SIZE), dtype=bool)
    lungs[4:20, 3:10] = lungs[4:20, 14:21] = True
    residue[5:9, 4:9] = strength
    burden = residue_burden(residue, residue > 0.1, lungs, (4.0, 4.0))
    return replace(TrendPoint(date, burden, residue - 0.5, residue), **changes)  # type: ignore[arg-type]


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn, to be asked what is on them."""
    drawn: list[Figure] = []

    class Kept(Figure):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[arg-type]
            drawn.append(self)

    monkeypatch.setattr(trend, "Figure", Kept)
    return drawn


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.texts)


def markers(figure: Figure, chart: int) -> list[tuple[float, float]]:
    """Places of the markers of both lungs together."""
    lines = [line for line in figure.axes[chart].get_lines() if line.get_marker() == "o"]
    return list(zip(lines[0].get_xdata(), lines[0].get_ydata(), strict=True))  # type: ignore[arg-type]


def test_it_is_a_picture_and_is_also_written(tmp_path: Path) -> None:
    points = [a_point("2024-03-01", 0.2), a_point("2024-05-01", 0.6)]
    png = trend_figure(points, tmp_path / "new" / "trend.png", title="A patient")
    assert Image.open(io.BytesIO(png)).format == "PNG" and (tmp_path / "new" / "trend.png").read_bytes() == png
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["trend.png"]
    svg = trend_figure(points, tmp_path / "trend.svg")
    assert ElementTree.fromstring(svg).tag.endswith("svg") and svg == trend_figure(points, picture_format="svg")


def test_dates_are_read_sorted_and_lose_their_time(metrics: list[Figure]) -> None:
    given = [dt.datetime(2024, 5, 31, 23, 59), "2024-01-15", "20240401", dt.date(2024, 3, 2), "2024-02-29T10:00:00"]
    points = [a_point(date, 0.2 + 0.1 * i) for i, date in enumerate(given)]
    days = [point.day for point in in_order(points)]
    assert days == sorted(days) and days[-1] == dt.date(2024, 5, 31) and days[1] == dt.date(2024, 2, 29)
    trend_figure(points)
    assert [x for x, _ in markers(metrics[0], 0)] == [mdates.date2num(day) for day in days]
    assert re.findall(r"\d{4}-\d\d-\d\d", texts(metrics[0])) == [day.isoformat() for day in days]


@pytest.mark.parametrize("date", ["yesterday", "2024-13-01", "", "01.05.2024"])
def test_what_is_no_date_is_refused(date: str) -> None:
    with pytest.raises(InputError, match="expected YYYY-MM-DD or YYYYMMDD"):
        trend_figure([a_point(date)])


def test_charts_show_the_burden_in_square_centimetres_or_in_shares(metrics: list[Figure]) -> None:
    points = [a_point("2024-03-01", 0.25), a_point("2024-05-01", 0.5)]
    trend_figure(points)
    area = 20 * 16 / 100  # pixels of 4 x 4 mm
    assert [y for _, y in markers(metrics[0], 0)] == pytest.approx([area, area])
    assert [y for _, y in markers(metrics[0], 1)] == pytest.approx([area / 4, area / 2])
    assert "cm²" in metrics[0].axes[0].get_title(loc="left")
    pixels = replace(points[1].burden, unit="pixels")
    trend_figure([points[0], replace(points[1], burden=pixels)])
    assert [y for _, y in markers(metrics[1], 0)] == pytest.approx([100 * 20 / 224] * 2)
    assert "%" in metrics[1].axes[0].get_title(loc="left")


def test_a_day_with_two_radiographs_has_both_and_a_line_through_their_mean(metrics: list[Figure]) -> None:
    trend_figure([a_point("2024-03-01", 0.2), a_point("20240301", 0.6), a_point("2024-04-01", 0.4)])
    assert len(markers(metrics[0], 1)) == 3
    line = next(line for line in metrics[0].axes[1].get_lines() if line.get_label() == "both lungs")
    assert line.get_ydata() == pytest.approx([3.2 * 0.4, 3.2 * 0.4])


def test_a_date_without_lungs_is_hollow_and_in_no_line(metrics: list[Figure]) -> None:
    known = a_point()
    whole = residue_burden(known.residue, known.residue > 0, None, (4.0, 4.0))  # type: ignore[arg-type, operator]
    trend_figure([known, replace(known, date="2024-04-01", burden=whole), replace(known, date="2024-05-01")])
    assert len(markers(metrics[0], 0)) == 2 and "no lungs found" in texts(metrics[0])
    trend_figure([replace(known, burden=whole)])
    hollow = [line for line in metrics[1].axes[0].get_lines() if line.get_markerfacecolor() == "white"]
    assert len(hollow) == 1 and len(metrics[1].axes[0].get_lines()) == 1


def test_thumbnails_where_given_and_not_too_many(metrics: list[Figure]) -> None:
    points = [a_point(dt.date(2024, 1, 1) + dt.timedelta(days=9 * i)) for i in range(14)]
    heights = [Image.open(io.BytesIO(trend_figure(part))).height for part in (
        [replace(point, image=None, residue=None) for point in points],
        [replace(point, residue=None) for point in points],
        points,
    )]  # fmt: skip
    assert heights[0] < heights[1] < heights[2]
    assert [len(figure.axes) for figure in metrics] == [2, 2 + MOST_THUMBNAILS, 2 + 2 * MOST_THUMBNAILS]
    words = texts(metrics[2])
    assert "12 of 14 radiographs" in words and "2024-01-01" in words and points[-1].day.isoformat() in words
    trend_figure([points[0], replace(points[1], image=None, residue=None)])
    assert len(metrics[3].axes) == 2 + 2


def test_nothing_of_the_patient_is_drawn_but_the_title(metrics: list[Figure], tmp_path: Path) -> None:
    trend_figure([a_point()], tmp_path / "DOE^JANE.png", title="$x_1 of a patient")
    words = texts(metrics[0])
    assert "DOE" not in words and "$x_1 of a patient" in words and DISCLAIMER in words
    trend_figure([a_point()])
    assert "patient" not in texts(metrics[1])


def test_blank_and_single_radiographs_are_drawn() -> None:
    assert trend_figure([a_point(strength=0.0)]) and trend_figure([a_point(strength=0.0, image=None, residue=None)])
    diverged = a_point(image=np.full((SIZE, SIZE), np.nan, np.float32))
    assert trend_figure([diverged])


def test_points_and_a_known_suffix_are_needed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        trend_figure([])
    with pytest.raises(InputError, match=r"\.png or \.svg"):
        trend_figure([a_point()], tmp_path / "trend.pdf")
    assert not list(tmp_path.iterdir())
