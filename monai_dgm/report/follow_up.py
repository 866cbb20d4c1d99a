"""Residue burden of one patient over several dates, as a chart with the radiographs below it.

    python -m monai_dgm.report.follow_up OUT/scores.json dates.csv --figure follow_up.png

OUT is the output folder of the inference bundle ``dgm``, of one run on all radiographs, since thresholds may differ
between runs. ``dates.csv`` has the columns ``image_id`` and ``date`` (YYYY-MM-DD or YYYYMMDD). This is a reading of the
paper's "longitudinal disease study" (abstract), which it does not define; the burden is not a clinical score.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_dgm.errors import InputError
from monai_dgm.metrics.burden import ResidueBurden
from monai_dgm.report.panels import DISCLAIMER
from monai_dgm.utils.atomic import atomic_write
from monai_dgm.utils.command import exit_status

__all__ = ["FollowUp", "draw_follow_up", "read_dates", "read_follow_up"]

MOST_PICTURES = 8
_LINES = {"total": ("both lungs", "#1b1f24"), "right": ("right lung", "#2563eb"), "left": ("left lung", "#e8590c")}


@dataclass(frozen=True)
class FollowUp:
    """One radiograph of the patient.

    Attributes:
        date: of the examination.
        burden: of its residue.
        picture: ``overlay.png`` of the radiograph, drawn below the chart; None where there is none.
    """

    date: dt.date
    burden: ResidueBurden
    picture: Path | None = None


def read_dates(path: Path) -> dict[str, dt.date]:
    """Dates by image id.

    Raises:
        InputError: no CSV file with the two columns, a text that is no date, or an image with two dates.
    """
    found: dict[str, dt.date] = {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            for row in csv.DictReader(stream):
                text = row["date"].strip()
                try:
                    day = dt.datetime.strptime(text, "%Y-%m-%d" if "-" in text else "%Y%m%d").date()
                except ValueError:
                    raise InputError(f"{path}: expected dates as YYYY-MM-DD or YYYYMMDD, got {text!r}") from None
                if found.setdefault(row["image_id"].strip(), day) != day:
                    raise InputError(f"{path}: expected one date for each image, got two for one")
    except (OSError, KeyError, AttributeError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a CSV file with the columns image_id and date") from error
    return found


def read_follow_up(scores: Path, dates: Mapping[str, dt.date]) -> list[FollowUp]:
    """The radiographs of ``scores.json`` that have a date, the earliest first.

    Raises:
        InputError: no such file, one without residue burdens, or none of its images has a date.
    """
    try:
        images = json.loads(scores.read_text(encoding="utf-8"))["images"]
        burdens = {image["image_id"]: ResidueBurden.from_dict(image["residue_burden"]) for image in images}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{scores}: expected the scores.json of a run of the inference bundle") from error
    found = []
    for image_id in sorted(dates, key=lambda name: dates[name]):
        if image_id in burdens:
            picture = scores.parent / image_id / "overlay.png"
            found.append(FollowUp(dates[image_id], burdens[image_id], picture if picture.is_file() else None))
    if not found:
        raise InputError(f"{scores}: expected at least one image that has a date, got none of {len(dates)}")
    return found


def draw_follow_up(points: Sequence[FollowUp], path: Path) -> None:
    """Draw the salient area and the integrated residue against the date, and up to ``MOST_PICTURES`` overlays.

    Areas are in cm² where every radiograph has a pixel spacing, else in percent of the region. A radiograph without a
    lung mask is a hollow marker for the whole image.

    Args:
        points: at least one, in the order of their dates.
        path: file to write, .png or .svg; no text of the patient is on it.
    """
    from matplotlib.figure import Figure
    from PIL import Image

    in_mm = all(point.burden.unit == "mm2" for point in points)
    shown = [point for point in points if point.picture is not None]
    shown = shown[:: -(-len(shown) // MOST_PICTURES) or 1]
    figure = Figure(figsize=(8, 5.2 if shown else 3.4), layout="constrained")
    grid = figure.add_gridspec(2 if shown else 1, 1, height_ratios=[3, 2] if shown else [1])
    labels = ("salient area (cm²)", "integrated residue (cm²)") if in_mm else ("salient area (%)", "mean |a| (%)")
    for axes, label in zip(grid[0].subgridspec(1, 2).subplots(squeeze=False)[0], labels, strict=True):
        for name, (words, colour) in _LINES.items():
            _draw_line(axes, points, name, label, in_mm, words, colour)
        axes.set_title(label, fontsize=9, loc="left")
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=7.5)
        axes.tick_params("x", rotation=30)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=7, frameon=False)
    if shown:
        for axes, point in zip(grid[1].subgridspec(1, len(shown)).subplots(squeeze=False)[0], shown, strict=True):
            with Image.open(str(point.picture)) as picture:
                axes.imshow(picture.convert("RGB"))
            axes.set_axis_off()
            axes.set_title(point.date.isoformat(), fontsize=7.5)
    figure.supxlabel(DISCLAIMER, fontsize=7, color="#5b6470")
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=130)


def _draw_line(
    axes: Any, points: Sequence[FollowUp], name: str, label: str, in_mm: bool, words: str, colour: str
) -> None:
    known: list[tuple[dt.date, float, bool]] = []
    for point in points:
        whole = point.burden.region == "whole_image"
        region = point.burden.total if name == "total" else point.burden.lungs.get(name)
        if region is not None and region.area:
            area = region.salient_area if label.startswith("salient") else region.integrated
            known.append((point.date, area / 100 if in_mm else 100 * area / region.area, whole))
    lungs = [(date, value) for date, value, whole in known if not whole]
    if lungs:
        axes.plot(*zip(*lungs, strict=True), "o-", color=colour, label=words, markersize=4, linewidth=1.4)
    hollow = [(date, value) for date, value, whole in known if whole]
    if hollow:
        axes.plot(*zip(*hollow, strict=True), "o", color=colour, markerfacecolor="white", label="whole image")


def run(arguments: argparse.Namespace) -> None:
    """Draw the figure and print where it is.

    Raises:
        InputError: what :func:`read_dates` and :func:`read_follow_up` refuse, or another suffix than .png and .svg.
    """
    if arguments.figure.suffix.lower() not in (".png", ".svg"):
        raise InputError(f"{arguments.figure}: expected a name ending in .png or .svg")
    dates = read_dates(arguments.dates)
    points = read_follow_up(arguments.scores, dates)
    draw_follow_up(points, arguments.figure)
    if len(points) < len(dates):
        left_out = f"{len(dates) - len(points)} of {len(dates)} dates"
        print(f"left out: {left_out}, for {arguments.scores} has no such image", file=sys.stderr)
    print(f"figure: {arguments.figure}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; errors of the user are one line."""
    lines = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(prog="python -m monai_dgm.report.follow_up", description=lines[0], epilog=lines[2])
    parser.add_argument("scores", type=Path, help="scores.json of the inference")
    parser.add_argument("dates", type=Path, help="CSV file with the columns image_id and date")
    parser.add_argument("--figure", type=Path, default=Path("follow_up.png"), help="file to write, .png or .svg")
    return exit_status(run, parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
