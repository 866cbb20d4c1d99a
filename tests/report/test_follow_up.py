"""The follow-up figure and its command."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from monai_dgm.errors import InputError
from monai_dgm.metrics.burden import ResidueBurden, residue_burden
from monai_dgm.report.follow_up import FollowUp, draw_follow_up, main, read_dates, read_follow_up
from monai_dgm.report.panels import DISCLAIMER

SIZE = 24


def burden_of(strength: float, lungs: bool = True, spacing: tuple[float, float] | None = (4.0, 4.0)) -> ResidueBurden:
    """A residue of ``strength`` on 4 x 5 pixels of the upper right lung; each lung has 16 x 7 pixels."""
    residue, mask = np.zeros((SIZE, SIZE), np.float32), np.zeros((SIZE, SIZE), dtype=bool)
    mask[4:20, 3:10] = mask[4:20, 14:21] = True
    residue[5:9, 4:9] = strength
    return residue_burden(residue, residue > 0.1, mask if lungs else None, spacing)


def write_scores(folder: Path, burdens: dict[str, ResidueBurden]) -> Path:
    images = [{"image_id": name, "residue_burden": burden.as_dict()} for name, burden in burdens.items()]
    path = folder / "scores.json"
    path.write_text(json.dumps({"images": images}))
    return path


def write_dates(folder: Path, dates: dict[str, str]) -> Path:
    path = folder / "dates.csv"
    path.write_text("image_id,date\n" + "".join(f"{name},{date}\n" for name, date in dates.items()))
    return path


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(self: Figure, *arguments: object, **options: object) -> None:
        figures.append(self)
        save(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def lines(figure: Figure, chart: int) -> dict[str, list[float]]:
    """Values by legend entry."""
    return {str(line.get_label()): list(line.get_ydata()) for line in figure.axes[chart].get_lines()}  # type: ignore[arg-type]


def test_the_command_draws_what_the_inference_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], drawn: list[Figure]
) -> None:
    scores = write_scores(tmp_path, {"late": burden_of(0.5), "early": burden_of(0.25), "undated": burden_of(1.0)})
    dates = write_dates(tmp_path, {"late": "2024-05-31", "early": "20240102", "not decomposed": "2024-01-01"})
    (tmp_path / "late").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "late" / "overlay.png")
    figure = tmp_path / "new" / "follow_up.png"
    assert main([str(scores), str(dates), "--figure", str(figure)]) == 0
    said = capsys.readouterr()
    assert Image.open(figure).format == "PNG" and f"figure: {figure}" in said.out
    assert said.err == f"left out: 1 of 3 dates, for {scores} has no such image\n"
    area = 20 * 16 / 100  # cm² of the 20 pixels of 4 x 4 mm
    assert lines(drawn[0], 0)["both lungs"] == pytest.approx([area, area])
    assert lines(drawn[0], 1)["both lungs"] == pytest.approx([area / 4, area / 2])
    assert lines(drawn[0], 1)["right lung"] == pytest.approx([area / 4, area / 2])
    assert lines(drawn[0], 1)["left lung"] == [0, 0]
    assert [axes.get_title() for axes in drawn[0].axes[2:]] == ["2024-05-31"]
    words = "".join(text.get_text() for axes in drawn[0].axes for text in axes.texts) + drawn[0].get_supxlabel()
    assert "late" not in words and DISCLAIMER in words


def test_without_spacing_areas_are_shares_and_without_lungs_markers_are_hollow(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    day = dt.date(2024, 1, 1)
    points = [FollowUp(day, burden_of(0.5, spacing=None)), FollowUp(day, burden_of(0.5, lungs=False))]
    draw_follow_up(points, tmp_path / "figure.svg")
    assert "%" in drawn[0].axes[0].get_title(loc="left")
    assert lines(drawn[0], 0)["both lungs"] == pytest.approx([100 * 20 / 224])
    assert lines(drawn[0], 0)["whole image"] == pytest.approx([100 * 20 / SIZE**2])
    assert (tmp_path / "figure.svg").read_text().startswith("<?xml")


def test_of_many_pictures_some_are_shown(tmp_path: Path, drawn: list[Figure]) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "overlay.png")
    start = dt.date(2024, 1, 1)
    points = [FollowUp(start + dt.timedelta(i), burden_of(0.5), tmp_path / "overlay.png") for i in range(20)]
    draw_follow_up(points, tmp_path / "figure.png")
    assert 3 <= len(drawn[0].axes) - 2 <= 8


def test_points_come_by_date(tmp_path: Path) -> None:
    scores = write_scores(tmp_path, {name: burden_of(0.5) for name in "abc"})
    dates = read_dates(write_dates(tmp_path, {"a": "2024-03-01", "b": "2023-12-31", "c": "20240201"}))
    assert [point.date.month for point in read_follow_up(scores, dates)] == [12, 2, 3]


@pytest.mark.parametrize(
    ("scores", "dates", "name", "message"),
    [
        (None, "image_id,date\na,2024-01-01\n", "f.png", r"scores\.json: expected the scores\.json of a run"),
        ("[]", "image_id,date\na,2024-01-01\n", "f.png", r"expected the scores\.json of a run"),
        ('{"images": [{"image_id": "a"}]}', "image_id,date\na,2024-01-01\n", "f.png", r"expected the scores\.json"),
        ('{"images": []}', "image_id,date\na,2024-01-01\n", "f.png", "got none of 1"),
        ('{"images": []}', "image_id,date\na,yesterday\n", "f.png", "expected dates as YYYY-MM-DD or YYYYMMDD"),
        ('{"images": []}', "image_id,date\na,2024-13-01\n", "f.png", "expected dates as YYYY-MM-DD or YYYYMMDD"),
        ('{"images": []}', "name,day\na,2024-01-01\n", "f.png", "with the columns image_id and date"),
        ('{"images": []}', "image_id,date\na\n", "f.png", "with the columns image_id and date"),
        ('{"images": []}', None, "f.png", "with the columns image_id and date"),
        ('{"images": []}', "image_id,date\n", "f.pdf", r"ending in \.png or \.svg"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    scores: str | None,
    dates: str | None,
    name: str,
    message: str,
) -> None:
    for file, text in (("scores.json", scores), ("dates.csv", dates)):
        if text is not None:
            (tmp_path / file).write_text(text)
    paths = [str(tmp_path / file) for file in ("scores.json", "dates.csv")]
    assert main([*paths, "--figure", str(tmp_path / name)]) == 2
    assert re.fullmatch(rf"error: [^\n]*{message}[^\n]*\n", capsys.readouterr().err)
    assert not (tmp_path / name).exists()


def test_dates_of_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "dates.csv"
    path.write_text("image_id,date\na,2024-01-01\n", encoding="utf-8-sig")
    assert read_dates(path) == {"a": dt.date(2024, 1, 1)}
    with path.open("a", encoding="utf-8") as stream:
        stream.write("a,2024-05-31\n")
    with pytest.raises(InputError, match="expected one date for each image"):
        read_dates(path)


def test_dates_that_are_no_csv_are_refused(tmp_path: Path) -> None:
    (tmp_path / "dates.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="columns image_id and date"):
        read_dates(tmp_path / "dates.csv")
