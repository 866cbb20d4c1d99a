"""Written decompositions: levels, places, and nothing half-written."""

from __future__ import annotations

import errno
import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor, nn

from monai_dgm.engines.decomposition import outputs
from monai_dgm.engines.decomposition.outputs import (
    OUTPUT_FILES,
    UNCERTAINTY_FILES,
    normal_levels,
    residue_nifti,
    scores,
    write_decomposition,
)
from monai_dgm.engines.overlay import _HEAT_OPACITY, draw_overlay
from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.engines.residues.decomposed_radiograph import Decomposition, to_original
from monai_dgm.readers.radiograph import Radiograph
from monai_dgm.readers.read import read_radiograph
from monai_dgm.report.colours import HEAT_COLOURS, heat_levels
from monai_dgm.transforms.geometry import LARGEST_SIDE, LEAST_SIDE, display_levels, display_shape
from monai_dgm.transforms.placement import Placement
from monai_dgm.transforms.preparation import RadiographSource, prepare

SIZE = 64
ROWS, COLS = 160, 100  # portrait
ROW, COL = 40, 30  # of the blob, in the model's pixels
NO_BOXES = np.zeros((0, 4), dtype=np.float32)


class BlobNetwork(nn.Module):
    """Answers with the image as normal and a bright blob as residue."""

    def forward(self, image: Tensor) -> Tensor:
        rows, cols = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
        blob = 0.8 * torch.exp(-((rows - ROW) ** 2 + (cols - COL) ** 2) / 18.0)
        return torch.cat((image, blob.expand_as(image), torch.full_like(image, 0.75)), dim=1)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).uniform(20, 220, (ROWS, COLS)).astype(np.float32)


@pytest.fixture
def decomposition(pixels: np.ndarray) -> Decomposition:
    prepared = prepare(Radiograph(pixels, (0.4, 0.3), "png", None, None, None, 8), SIZE, percentiles=None)
    (result,) = RadiographPipeline(BlobNetwork(), SIZE)([prepared])
    assert not isinstance(result, Exception) and result.decomposition is not None
    return result.decomposition


def source_for(pixels: np.ndarray, **values: object) -> RadiographSource:
    low, high = float(pixels.min()), float(pixels.max())
    given = {"image_id": "one", "display": display_levels(pixels, low, high), "format": "png", "bits": 8}
    given |= {"placement": Placement.from_spacing(*pixels.shape, (0.4, 0.3)), "opacity_boxes": NO_BOXES, **values}
    return RadiographSource(**given)  # type: ignore[arg-type]


def peak(plane: np.ndarray) -> tuple[float, float]:
    """Centre of the upper half of a plane, continuous: pixel i at i + 0.5."""
    high = np.where(plane > 0.5 * plane.max(), plane, 0).astype(float)
    rows, cols = (np.arange(length) + 0.5 for length in plane.shape)
    return float((high.sum(1) * rows).sum() / high.sum()), float((high.sum(0) * cols).sum() / high.sum())


def test_every_file_shows_the_blob_at_the_same_original_pixel(
    tmp_path: Path, pixels: np.ndarray, decomposition: Decomposition
) -> None:
    told = write_decomposition(tmp_path / "one", decomposition, source_for(pixels))
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted(OUTPUT_FILES)
    (top, left), (scale_y, scale_x) = decomposition.geometry.offset, decomposition.geometry.scale
    row, col = (ROW + 0.5 - top) / scale_y, (COL + 0.5 - left) / scale_x
    saliency = np.asarray(Image.open(tmp_path / "one/saliency.png"))
    nifti = nibabel.load(tmp_path / "one/residue.nii.gz")
    residue = np.asarray(nifti.dataobj)
    assert saliency.shape == (ROWS, COLS) and residue.shape == (COLS, ROWS)  # axis 0 is x
    assert peak(saliency) == pytest.approx((row, col), abs=0.5)
    assert peak(residue.T) == pytest.approx((row, col), abs=0.5)
    np.testing.assert_allclose(np.abs(np.diag(nifti.affine))[:2], [0.3, 0.4], atol=1e-6)
    [found] = told["saliency_boxes"]
    xmin, ymin, xmax, ymax = found["box"]
    assert ((ymin + ymax) / 2, (xmin + xmax) / 2) == pytest.approx((row, col), abs=1)
    rows, cols = np.nonzero(saliency)
    assert (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1) == pytest.approx((xmin, ymin, xmax, ymax), abs=2)
    picture = np.asarray(Image.open(tmp_path / "one/overlay.png")).astype(int)
    strip = picture.shape[0] - display_shape(ROWS, COLS)[0]
    assert strip > 20
    redness = (picture[..., 0] - picture[..., 2])[:-strip]
    factor = redness.shape[0] / ROWS
    assert peak(np.maximum(redness, 0)) == pytest.approx((row * factor, col * factor), abs=2 * factor)


def test_normal_png_has_the_levels_of_an_8_bit_picture(
    tmp_path: Path, pixels: np.ndarray, decomposition: Decomposition
) -> None:
    told = write_decomposition(tmp_path / "one", decomposition, source_for(pixels), panel=False)
    picture = Image.open(tmp_path / "one/normal.png")
    assert picture.mode == "L" and told["normal_png_range"] == [0, 255]
    np.testing.assert_allclose(np.asarray(picture), to_original(decomposition).normal, atol=0.51)
    assert "not for diagnosis" in picture.info["Description"]


@pytest.mark.parametrize(("kind", "bits"), [("dicom", 12), ("nifti", 32), ("png", 16)])
def test_normal_png_has_16_bits_over_a_range_that_is_told(
    tmp_path: Path, pixels: np.ndarray, decomposition: Decomposition, kind: str, bits: int
) -> None:
    source = source_for(pixels, format=kind, bits=bits)
    told = write_decomposition(tmp_path / "one", decomposition, source, panel=False)
    levels = np.asarray(Image.open(tmp_path / "one/normal.png"))
    black, white = told["normal_png_range"]
    assert levels.dtype == np.uint16
    assert (black, white) == ((0, 65535) if kind == "png" else tuple(told["intensity_range"]))
    np.testing.assert_allclose(
        black + levels / 65535.0 * (white - black), to_original(decomposition).normal, atol=(white - black) / 65535
    )


def test_levels_are_clipped_and_not_wrapped(pixels: np.ndarray, decomposition: Decomposition) -> None:
    original = to_original(decomposition)
    bright = type(original)(**{**original.__dict__, "normal": original.normal + 1000})
    assert (normal_levels(bright, decomposition.geometry, source_for(pixels)) == 255).all()


def test_earlier_outputs_stay_when_writing_fails(
    tmp_path: Path, pixels: np.ndarray, decomposition: Decomposition, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_decomposition(tmp_path / "one", decomposition, source_for(pixels))
    before = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    write_bytes, written = Path.write_bytes, []

    def full_disk(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    for name in ("one", "two"):
        written.clear()
        with pytest.raises(OSError, match="No space"):
            write_decomposition(tmp_path / name, decomposition, source_for(pixels, bits=16))
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()} == before
    assert not (tmp_path / "two").exists()


def test_what_others_put_into_the_folder_stays_and_an_old_panel_goes(
    tmp_path: Path, pixels: np.ndarray, decomposition: Decomposition
) -> None:
    write_decomposition(tmp_path / "one", decomposition, source_for(pixels))
    (tmp_path / "one/label.json").write_text("{}")
    write_decomposition(tmp_path / "one", decomposition, source_for(pixels), panel=False)
    assert {path.name for path in (tmp_path / "one").iterdir()} == {*OUTPUT_FILES, "label.json"} - {"panel.png"}


def test_two_runs_write_the_same_bytes(tmp_path: Path, pixels: np.ndarray, decomposition: Decomposition) -> None:
    for name in ("one", "two"):
        write_decomposition(tmp_path / name, decomposition, source_for(pixels))
    for name in OUTPUT_FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_scores_are_plain_values(pixels: np.ndarray, decomposition: Decomposition) -> None:
    told = scores(decomposition, source_for(pixels), ["view LL"])
    assert told["abnormality_probability"] == 0.75
    assert (told["rows"], told["cols"], told["pixel_spacing_mm"]) == (ROWS, COLS, [0.4, 0.3])
    assert told["lung_box"] == [0, 0, COLS, ROWS] and told["lung_box_source"] == "whole_image"
    assert 0 < told["saliency_area_fraction"] < 0.2 and told["max_abs_residue"] == pytest.approx(0.8)
    assert told["remarks"] == ["view LL"]


def test_a_blank_residue_packs_to_next_to_nothing() -> None:
    blank = residue_nifti(np.full((500, 500), -1e-5, dtype=np.float32), Placement.from_spacing(500, 500))
    assert len(blank) < 10_000
    values = np.asarray(nibabel.Nifti1Image.from_bytes(gzip.decompress(blank)).dataobj)
    assert (values == 0).all() and not np.signbit(values).any()


@pytest.mark.parametrize("shape", [(2000, 1000), (100, 300), (16, 16), (600, 800), (20, 2000)])
def test_overlays_are_neither_tiny_nor_huge(shape: tuple[int, int]) -> None:
    display = display_levels(np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32), 0, 1)
    box = np.array([[0, 0, shape[1], shape[0]]], dtype=np.float32)
    picture = draw_overlay(display, np.zeros(shape, np.float32), box, np.ones(1, np.float32), "words " * 40)
    assert LEAST_SIDE <= max(display.shape) <= LARGEST_SIDE
    assert display.shape[0] / display.shape[1] == pytest.approx(shape[0] / shape[1], rel=0.05)
    assert picture.width == display.shape[1] and picture.height > display.shape[0]


def test_an_overlay_without_findings_is_the_radiograph() -> None:
    display = np.random.default_rng(0).integers(0, 255, (512, 400)).astype(np.uint8)
    picture = draw_overlay(display, np.zeros((512, 400), np.float32), NO_BOXES, np.zeros(0, np.float32), "", 3)
    assert (np.asarray(picture)[:512] == display[..., None]).all()


def test_an_overlay_box_has_its_edges_on_its_pixels() -> None:
    display = np.full((512, 512), 128, dtype=np.uint8)
    box = np.array([[100, 200, 300, 350]], dtype=np.float32)
    picture = draw_overlay(display, np.zeros((512, 512), np.float32), box, np.ones(1, np.float32))
    white = (np.asarray(picture)[:512] == 255).all(axis=-1)
    rows, cols = np.flatnonzero(white[:, 100:300].all(axis=1)), np.flatnonzero(white[200:350].all(axis=0))
    assert (rows.min(), rows.max() + 1, cols.min(), cols.max() + 1) == (200, 350, 100, 300)


def test_png_modes_open_everywhere(tmp_path: Path, pixels: np.ndarray, decomposition: Decomposition) -> None:
    write_decomposition(tmp_path / "one", decomposition, source_for(pixels))
    modes = {path.name: Image.open(path).mode for path in (tmp_path / "one").glob("*.png")}
    assert modes == {
        "normal.png": "L",
        "residue.png": "P",
        "saliency.png": "L",
        "overlay.png": "RGB",
        "panel.png": "RGB",
    }


def test_a_residue_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    residue = np.random.default_rng(0).uniform(-1, 1, (30, 20)).astype(np.float32)
    (tmp_path / "residue.nii.gz").write_bytes(residue_nifti(residue, Placement.from_spacing(30, 20, (0.2, 0.3))))
    again = read_radiograph(tmp_path / "residue.nii.gz")
    np.testing.assert_allclose(again.pixels, residue, atol=2**-13)
    assert again.pixel_spacing == pytest.approx((0.2, 0.3))
    image = nibabel.Nifti1Image.from_bytes(
        gzip.decompress(residue_nifti(residue, Placement.from_spacing(30, 20, (0.2, 0.3))))
    )
    assert image.shape == (20, 30) and image.get_data_dtype() == np.float32
    np.testing.assert_allclose(image.affine @ [1, 0, 0, 1], [-0.3, 0, 0, 1], atol=1e-6)  # x to the patient's left
    np.testing.assert_allclose(image.affine @ [0, 1, 0, 1], [0, -0.2, 0, 1], atol=1e-6)


def test_the_uncertainty_lies_over_the_residue(
    tmp_path: Path, pixels: np.ndarray, decomposition: Decomposition
) -> None:
    """Here it is as large as the residue, at the same place; without one its files go."""
    written = tmp_path / "one"
    spread = np.abs(decomposition.residue)
    write_decomposition(written, decomposition, source_for(pixels), panel=False, uncertainty=spread)
    maps = {name: nibabel.load(written / f"{name}.nii.gz") for name in ("residue", "uncertainty")}
    np.testing.assert_array_equal(maps["residue"].affine, maps["uncertainty"].affine)
    np.testing.assert_allclose(maps["uncertainty"].get_fdata(), np.maximum(maps["residue"].get_fdata(), 0), atol=1e-3)
    assert b"Uncertainty" in maps["uncertainty"].header["descrip"].tobytes()
    picture = Image.open(written / "uncertainty.png")
    levels = np.asarray(picture)
    assert picture.mode == "P" and levels.shape == (ROWS, COLS)
    assert levels.max() == pytest.approx(255 * spread.max(), abs=5) and peak(levels) == pytest.approx(
        peak(maps["residue"].get_fdata().T), abs=0.5
    )
    write_decomposition(written, decomposition, source_for(pixels), panel=False)
    assert not [name for name in UNCERTAINTY_FILES if (written / name).exists()]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [("maps", {"normal.png", "residue.nii.gz", "saliency.png"}), ("scores", set()), ("all", {*outputs.OUTPUT_FILES})],
)
def test_only_what_is_asked_for_is_written_and_nothing_of_an_earlier_run_stays(
    wanted: str, names: set[str], tmp_path: Path, pixels: np.ndarray, decomposition: Decomposition
) -> None:
    source, folder = source_for(pixels), tmp_path / "one"
    before = write_decomposition(folder, decomposition, source, uncertainty=np.zeros_like(decomposition.residue))
    assert write_decomposition(folder, decomposition, source, outputs=wanted) == before
    assert {path.name for path in folder.iterdir()} == names
    new = tmp_path / "new"
    write_decomposition(new, decomposition, source, outputs=wanted)
    assert ({path.name for path in new.iterdir()} if new.exists() else set()) == names


def test_heat_is_drawn_as_if_the_whole_picture_were(pixels: np.ndarray) -> None:
    display = np.random.default_rng(0).integers(0, 255, (512, 400)).astype(np.uint8)
    heat = np.zeros((512, 400), dtype=np.float32)
    heat[3:40, 380:400], heat[300:310, 150:220] = 0.5, np.linspace(0, 1, 70)
    for softness in (0.0, 1.1, 4.6):
        levels = heat_levels(heat)
        whole = Image.fromarray(display).convert("RGB")
        opacity = Image.fromarray(_HEAT_OPACITY[levels]).filter(ImageFilter.GaussianBlur(softness))
        whole.paste(Image.fromarray(HEAT_COLOURS[levels]), mask=opacity)
        drawn = draw_overlay(display, heat, NO_BOXES, np.zeros(0, np.float32), "", softness)
        assert np.array_equal(np.asarray(drawn)[:512], np.asarray(whole))
