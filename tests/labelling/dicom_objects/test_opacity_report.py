"""Whose report it is, and what its regions are as boxes."""

from __future__ import annotations

import numpy as np
import pytest

from monai_dgm.labelling.dicom_objects.opacity_report import NoBox, OpacityReport, box_of_graphic


def a_report(reader: str | None = "Doe^Jane", by_us: bool = False) -> OpacityReport:
    return OpacityReport(
        sop_instance_uid="1.1.1",
        study_uid="1.1",
        opacities=(),
        no_opacity=True,
        images=(),
        reader=reader,
        software="a viewer",
        by_us=by_us,
        written=None,
        problems=(),
    )


def test_a_negative_is_confirmed_by_a_reader_only() -> None:
    assert a_report().confirmed_negative
    assert a_report(by_us=True).confirmed_negative
    assert not a_report(reader=None, by_us=True).confirmed_negative
    assert a_report(reader=None).confirmed_negative  # another viewer's, by somebody it does not name


@pytest.mark.parametrize("seed", range(20))
def test_the_box_of_an_ellipse_touches_it_on_all_sides(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centre, (a, b), angle = rng.uniform(0, 50, 2), rng.uniform(1, 20, 2), rng.uniform(0, np.pi)
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    ends = centre + np.array([[-a, 0], [a, 0], [0, -b], [0, b]]) @ turned.T
    turns = np.linspace(0, 2 * np.pi, 10_000)
    outline = centre + np.stack([a * np.cos(turns), b * np.sin(turns)], axis=1) @ turned.T
    expected = np.concatenate([outline.min(axis=0), outline.max(axis=0)])
    np.testing.assert_allclose(box_of_graphic("ELLIPSE", ends), expected, atol=1e-4)


@pytest.mark.parametrize("kind, points", [("POINT", 1), ("CIRCLE", 3), ("ELLIPSE", 3), ("x" * 100, 4), ("POLYLINE", 2)])
def test_what_is_no_area_gives_no_box(kind: str, points: int) -> None:
    with pytest.raises(NoBox) as caught:
        box_of_graphic(kind, np.arange(2.0 * points).reshape(points, 2))
    assert len(str(caught.value)) < 60
