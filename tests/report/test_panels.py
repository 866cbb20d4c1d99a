import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_dgm.metrics.case_results import DecompositionResult
from monai_dgm.report.colours import (
    HEAT_COLOURS,
    LEAST_SCALE,
    RESIDUE_COLOURS,
    grey_levels,
    grey_png,
    heat_alpha,
    heat_levels,
    overlay,
    palette_png,
    residue_levels,
    residue_scale,
)
from monai_dgm.report.panels import Panel, panel_columns, panel_figure, panel_from_result, panel_picture

SIZE = 32


def a_panel(**changes: object) -> Panel:
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (SIZE, SIZE)).astype(np.float32)
    residue = np.zeros((SIZE, SIZE), dtype=np.float32)
    residue[4:12, 10:20] = 0.5
    heat = (residue > 0).astype(np.float32)
    boxes = np.array([[10, 4, 20, 12]], dtype=np.float32)
    return replace(Panel(image, image - residue, residue, heat, boxes, "one"), **changes)  # type: ignore[arg-type]


def test_zero_residue_is_the_middle_colour_and_the_scale_is_symmetric() -> None:
    levels = residue_levels(np.array([[-9.0, -0.2, 0.0, 0.2, 9.0, np.nan]]), 0.2)
    assert levels.tolist() == [[1, 1, 128, 255, 255, 128]]
    assert RESIDUE_COLOURS[128].max() < 24, "a blank residue is black"
    assert RESIDUE_COLOURS[255][0] > RESIDUE_COLOURS[255][2] and RESIDUE_COLOURS[1][2] > RESIDUE_COLOURS[1][0]


def test_noise_is_not_stretched_to_full_colour() -> None:
    assert residue_scale([np.full((8, 8), 1e-4)]) == LEAST_SCALE
    assert residue_scale([np.full((8, 8), 1e-4), np.full((8, 8), -0.6)]) == pytest.approx(0.6)
    assert residue_scale([np.full((2, 2), np.nan)]) == LEAST_SCALE


def test_image_scale_is_fixed() -> None:
    assert grey_levels(np.array([[-2.0, -1.0, 0.0, 1.0, 2.0]])).tolist() == [[0, 0, 128, 255, 255]]


def test_heat_covers_only_where_there_is_some() -> None:
    panel = a_panel()
    blended = overlay(panel.image, panel.saliency)
    grey = grey_levels(panel.image)
    cold = panel.saliency == 0
    np.testing.assert_array_equal(blended[cold], np.repeat(grey[cold][:, None], 3, axis=1))
    assert (blended[~cold] != grey[~cold][:, None]).any(axis=1).all()
    assert heat_levels(np.array([[0.0, 1e-6, 1.0]])).tolist() == [[0, 1, 255]]


def test_levels_are_rounded_in_double_precision() -> None:
    values = np.random.default_rng(2).normal(0, 0.6, (50, 60)).astype(np.float32)
    values[0, :4] = np.nan, np.inf, -np.inf, 0
    exact = np.clip(values.astype(np.float64), 0, 1)
    warm = np.where(np.nan_to_num(exact) > 0, 1 + np.round(254 * np.nan_to_num(exact)), 0)
    assert np.array_equal(heat_levels(values), warm.astype(np.uint8))
    share = np.nan_to_num(np.clip(values.astype(np.float64) / 0.5, -1, 1))
    assert np.array_equal(residue_levels(values, 0.5), np.round(128 + 127 * share).astype(np.uint8))


def test_small_pngs_decode_to_what_was_meant() -> None:
    levels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(grey_png(levels)))), levels)
    decoded = Image.open(io.BytesIO(palette_png(levels, HEAT_COLOURS, heat_alpha()))).convert("RGBA")
    np.testing.assert_array_equal(np.asarray(decoded)[..., :3], HEAT_COLOURS[levels])
    np.testing.assert_array_equal(np.asarray(decoded)[..., 3], heat_alpha()[levels])


def test_columns_follow_what_is_known() -> None:
    plain = a_panel()
    assert panel_columns([plain]) == ["image", "normal", "residue", "saliency"]
    known = a_panel(true_normal=plain.normal, true_residue=plain.residue)
    assert panel_columns([plain, known])[4:] == ["true_normal", "true_residue"]
    assert panel_picture(plain, "true_normal", 1.0) is None
    picture = panel_picture(known, "residue", 0.5)
    assert picture is not None and picture.shape == (SIZE, SIZE, 3)


def test_figure_is_a_png_and_is_also_written(tmp_path: Path) -> None:
    lungs = np.array([2, 2, 30, 30], dtype=np.float32)
    panels = [
        a_panel(true_normal=a_panel().normal),
        a_panel(lung_box=lungs, lung_box_source="lung_mask", caption="$x_"),
    ]
    png = panel_figure(panels, tmp_path / "metrics" / "panels.png", title="Title")
    picture = Image.open(io.BytesIO(png))
    assert picture.format == "PNG" and picture.width > 5 * 150
    assert (tmp_path / "metrics" / "panels.png").read_bytes() == png
    assert [path.name for path in (tmp_path / "metrics").iterdir()] == ["panels.png"]


def test_figure_grows_by_rows_and_needs_one() -> None:
    heights = [Image.open(io.BytesIO(panel_figure([a_panel()] * count))).height for count in (1, 2, 3)]
    assert heights[2] - heights[1] == pytest.approx(heights[1] - heights[0], abs=1)
    with pytest.raises(ValueError, match="at least one"):
        panel_figure([])


def test_panel_of_a_record_has_its_saliency_and_true_residue() -> None:
    panel = a_panel()
    lungs = np.zeros((SIZE, SIZE), dtype=bool)
    lungs[2:30, 3:29] = True
    record = DecompositionResult(
        "id7",
        "patient",
        "nih",
        1,
        "lung_opacity",
        panel.image,
        panel.normal,
        panel.residue,
        0.914,
        None,
        panel.boxes,
        lungs,
    )
    made = panel_from_result(record)
    assert made.caption == "id7 · lung opacity · p(abnormal) 0.91"
    assert made.lung_box_source == "lung_mask" and made.lung_box is not None
    np.testing.assert_array_equal(made.lung_box, [3, 2, 29, 30])
    assert made.saliency[8, 15] > 0 and made.saliency[25, 5] == 0
    assert made.true_residue is None
    truth = panel_from_result(replace(record, true_normal=panel.normal, lung_mask=None))
    np.testing.assert_allclose(truth.true_residue, panel.residue, atol=1e-6)
    assert truth.lung_box_source == "whole_image" and truth.lung_box is None
    diverged = panel_from_result(replace(record, residue=panel.residue * np.nan))
    assert not diverged.saliency.any() and panel_figure([diverged])
