"""Writes one decomposed radiograph as files that any viewer opens. All of them are complete before one is replaced.

=================  =====================================================================================================
normal.png         normal image over the original's pixels, bright = dense, 8 or 16 bits, see :func:`normal_levels`
residue.png        residue in the report's colours over the original's pixels, black at 0, full colour at +-0.5
residue.nii.gz     residue, float32, units of the [-1, 1] scale; array axis 0 is x (columns), axis 1 is y (rows)
saliency.png       heat over the original's pixels, 8 bits: 0 outside the saliency mask, else 1..255
overlay.png        heat and opacity boxes over the radiograph, longest side 512 to 1024, with the disclaimer
panel.png          input | normal | residue | saliency, as in the report
=================  =====================================================================================================
"""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from monai_dgm.engines.decomposition.decompose import Decomposition, OriginalDecomposition, to_original
from monai_dgm.engines.overlay import DISCLAIMER, draw_overlay
from monai_dgm.report import colours
from monai_dgm.report.panels import LUNG_BOX_WORDS, Panel, panel_figure
from monai_dgm.transforms.geometry import RadiographGeometry
from monai_dgm.utils.atomic import atomic_write

OUTPUT_FILES = ("normal.png", "residue.png", "residue.nii.gz", "saliency.png", "overlay.png", "panel.png")
RESIDUE_PNG_SCALE = 0.5  # fixed, so that the pictures of two radiographs compare
COMPRESSION = 1  # a 2,000 x 2,000 residue takes 0.4 s; higher levels take twice as long and gain 1 %
RESIDUE_STEP = 2.0**-12  # 1/32 of a grey level in 256; rounding to it halves the file
NO_BOXES = np.zeros((0, 4), dtype=np.float32)


@dataclass(frozen=True)
class Source:
    """What is known of the file a decomposition came from, beside its geometry.

    Attributes:
        image_id: names the outputs.
        display: grey levels of :func:`monai_dgm.engines.overlay.display_levels`.
        format: "dicom", "png", "jpeg" or "nifti".
        bits: bits that the file stores for a pixel.
        affine: (4, 4) from voxels (column, row, 0) to RAS mm; None where the file does not place the image.
        opacity_boxes: true opacity boxes (N, 4) in the original's pixels, where known; drawn in the panel.
        remarks: why this may be no frontal chest radiograph.
    """

    image_id: str
    display: NDArray[np.uint8]
    format: str
    bits: int
    affine: NDArray[np.float64] | None = None
    opacity_boxes: NDArray[np.float32] = field(default_factory=NO_BOXES.copy)
    remarks: tuple[str, ...] = ()


def write_decomposition(
    folder: str | os.PathLike[str],
    decomposition: Decomposition,
    source: Source,
    panel: bool = True,
    opacities: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
) -> dict[str, Any]:
    """Write ``OUTPUT_FILES`` into ``folder``; earlier ones are replaced only when all new ones are complete.

    Args:
        folder: made when missing.
        decomposition: of one radiograph.
        source: of the same radiograph.
        panel: write panel.png (a third of a second).
        opacities: boxes (N, 4) in the original's pixels and scores (N,) of a detector, drawn in the overlay; None draws
            those of the saliency.

    Returns:
        What scores.json says of the image: :func:`scores`.

    Raises:
        OSError: the folder cannot be written; what was there is left as it was.
    """
    target = Path(folder)
    original = to_original(decomposition)
    made = not target.exists()
    try:
        with ExitStack() as files:  # renames when all are written
            for name, content in _contents(decomposition, original, source, panel, opacities).items():
                files.enter_context(atomic_write(target / name)).write_bytes(content)
    except BaseException:
        if made and target.is_dir() and not any(target.iterdir()):
            target.rmdir()
        raise
    if not panel:
        (target / "panel.png").unlink(missing_ok=True)  # of an earlier run: it would show another decomposition
    return scores(decomposition, original, source)


def _contents(
    decomposition: Decomposition,
    original: OriginalDecomposition,
    source: Source,
    panel: bool,
    opacities: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
) -> dict[str, bytes]:
    geometry = decomposition.geometry
    makers: dict[str, Callable[[], bytes]] = {
        "residue.nii.gz": lambda: residue_nifti(original.residue, source.affine, geometry.pixel_spacing),
        "residue.png": lambda: colours.palette_png(
            colours.residue_levels(original.residue, RESIDUE_PNG_SCALE), colours.RESIDUE_COLOURS
        ),
        "normal.png": lambda: _png(
            Image.fromarray(normal_levels(original, geometry, source)), f"Synthetic normal image. {DISCLAIMER}."
        ),
        "saliency.png": lambda: _png(Image.fromarray(saliency_levels(original)), f"Saliency. {DISCLAIMER}."),
        "overlay.png": lambda: overlay_png(decomposition, original, source, opacities),
    }
    if panel:
        makers["panel.png"] = lambda: panel_figure([panel_of(decomposition, source)])
    with ThreadPoolExecutor(len(makers)) as threads:  # compression, nearly all of the time, leaves Python free
        made = {name: threads.submit(maker) for name, maker in makers.items()}
        return {name: future.result() for name, future in made.items()}


def scores(decomposition: Decomposition, original: OriginalDecomposition, source: Source) -> dict[str, Any]:
    """Figures of one radiograph, as JSON can hold them; boxes in the original's pixels."""
    geometry, saliency = decomposition.geometry, decomposition.saliency
    black, white = normal_range(geometry, source)
    spacing = geometry.pixel_spacing
    return {
        "image_id": source.image_id,
        "abnormality_probability": round(decomposition.probability, 6),
        "mean_abs_residue": round(decomposition.mean_abs_residue, 6),
        "max_abs_residue": round(decomposition.max_abs_residue, 6),
        "saliency_area_fraction": round(decomposition.saliency_area_fraction, 6),
        "saliency_threshold": round(saliency.threshold, 6),
        "saliency_boxes": listed_boxes(original.boxes, original.box_scores),
        "lung_box": _numbers(original.lung_box),
        "lung_box_source": saliency.lung_box_source,
        "rows": geometry.rows,
        "cols": geometry.cols,
        "pixel_spacing_mm": None if spacing is None else list(spacing),
        "intensity_range": [round(geometry.low, 6), round(geometry.high, 6)],
        "normal_png_range": [round(black, 6), round(white, 6)],
        "remarks": list(source.remarks),
    }


def listed_boxes(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Boxes (N, 4) and scores (N,) as JSON can hold them."""
    pairs = zip(boxes, scores, strict=True)
    return [{"box": _numbers(box), "score": round(float(score), 4)} for box, score in pairs]


def normal_range(geometry: RadiographGeometry, source: Source) -> tuple[float, float]:
    """Values of the original that black and white of normal.png stand for.

    PNG and JPEG: the file's own levels, so that the two can be subtracted. DICOM and NIfTI: the range that the network
    saw, since their values may be negative or fill a small part of 16 bits.
    """
    if source.format in ("png", "jpeg"):
        return 0.0, float(2**source.bits - 1)
    return geometry.low, geometry.high


def normal_levels(
    original: OriginalDecomposition, geometry: RadiographGeometry, source: Source
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Grey levels (rows, cols) of the normal image over :func:`normal_range`: 8 bits for 8-bit pictures, else 16."""
    black, white = normal_range(geometry, source)
    eight = source.format in ("png", "jpeg") and source.bits == 8
    top = 255 if eight else 65535
    levels = np.clip(np.rint((original.normal - np.float32(black)) * np.float32(top / (white - black))), 0, top)
    return levels.astype(np.uint8) if eight else levels.astype(np.uint16)


def saliency_levels(original: OriginalDecomposition) -> NDArray[np.uint8]:
    """Saliency heat (rows, cols) as 0 outside the mask and 1..255 inside."""
    return np.where(original.mask, np.maximum(np.rint(original.heat * 255), 1), 0).astype(np.uint8)


def residue_nifti(
    residue: NDArray[np.float32],
    affine: NDArray[np.float64] | None = None,
    pixel_spacing: tuple[float, float] | None = None,
) -> bytes:
    """A residue (rows, cols) as gzipped NIfTI-1, float32, array shape (cols, rows).

    Args:
        residue: in units of the [-1, 1] scale; rounded to ``RESIDUE_STEP``.
        affine: from (column, row, 0) to RAS mm. None: x runs to the patient's left, y to the back, from the first
            pixel's centre, as ITK and 3D Slicer place a picture or a radiograph without position.
        pixel_spacing: (row, column) in mm, for an affine of None; 1 mm where unknown.
    """
    row, col = pixel_spacing or (1.0, 1.0)
    placed = np.diag([-col, -row, 1.0, 1.0]) if affine is None else affine
    steps = np.rint(residue * np.float32(1 / RESIDUE_STEP)) * np.float32(RESIDUE_STEP)
    image = nibabel.Nifti1Image(np.ascontiguousarray(steps.T) + np.float32(0), placed)  # + 0: no negative zeros
    known = affine is not None or pixel_spacing is not None
    image.header.set_xyzt_units("mm" if known else "unknown")
    image.header["descrip"] = b"DGM residue, [-1, 1] scale. Research, not for diagnosis."
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", COMPRESSION, buffer, mtime=0) as stream:  # the same bytes in every run
        stream.write(image.to_bytes())
    return buffer.getvalue()


def overlay_png(
    decomposition: Decomposition,
    original: OriginalDecomposition,
    source: Source,
    opacities: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
) -> bytes:
    """overlay.png: see :func:`monai_dgm.engines.overlay.draw_overlay`; boxes as in :func:`write_decomposition`."""
    words = [f"p(abnormal) {decomposition.probability:.2f}", LUNG_BOX_WORDS[decomposition.saliency.lung_box_source]]
    boxes, box_scores = opacities or (original.boxes, original.box_scores)
    words.append("boxes of the saliency" if opacities is None else "boxes of the detector")
    line = ", ".join([*words, *source.remarks])
    softness = 0.5 * max(source.display.shape) / decomposition.geometry.size  # half a pixel of the model's
    picture = draw_overlay(source.display, original.heat, boxes, box_scores, line, softness)
    return _png(picture, f"{DISCLAIMER}.")


def panel_of(decomposition: Decomposition, source: Source) -> Panel:
    """The report's panel of one radiograph, with its true opacity boxes where they are known."""
    saliency = decomposition.saliency
    return Panel(
        image=decomposition.image,
        normal=decomposition.normal,
        residue=decomposition.residue,
        saliency=saliency.heat,
        boxes=decomposition.geometry.boxes_to_model(source.opacity_boxes),
        caption=f"{source.image_id} · p(abnormal) {decomposition.probability:.2f}",
        lung_box_source=saliency.lung_box_source,
        lung_box=None if saliency.lung_box_source == "whole_image" else saliency.lung_box,
    )


def _png(picture: Image.Image, description: str) -> bytes:
    remark = PngInfo()
    remark.add_text("Description", description)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=COMPRESSION, pnginfo=remark)
    return buffer.getvalue()


def _numbers(box: NDArray[np.float32]) -> list[float]:
    return [round(float(edge), 2) for edge in box]
