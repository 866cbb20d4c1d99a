"""Write one decomposed radiograph as files that any viewer opens. All are complete before the first is replaced.

=================  =====================================================================================================
normal.png         normal image over the original's pixels, bright = dense, 8 or 16 bits, see :func:`normal_levels`
residue.png        residue in the report's colours over the original's pixels, black at 0, full colour at +-0.5
residue.nii.gz     residue, float32, units of the [-1, 1] scale; array axis 0 is x (columns), axis 1 is y (rows)
saliency.png       heat over the original's pixels, 8 bits: 0 outside the saliency mask, else 1..255
overlay.png        heat and opacity boxes over the radiograph, longest side 512 to 1024, with the disclaimer
panel.png          input | normal | residue | saliency, as in the report
uncertainty.nii.gz uncertainty of the residue in [0, 1], placed as residue.nii.gz; where it was asked for
uncertainty.png    the same over the original's pixels, black at 0, full colour at 1
=================  =====================================================================================================
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dgm.engines.decomposition.values import decomposition_values
from monai_dgm.engines.overlay import DISCLAIMER, draw_overlay
from monai_dgm.engines.radiograph_result import OpacityBoxes
from monai_dgm.engines.residues.decomposed_radiograph import Decomposition, OriginalDecomposition, to_original
from monai_dgm.report import colours
from monai_dgm.report.panels import LUNG_BOX_WORDS, Panel, panel_figure
from monai_dgm.transforms.geometry import RadiographGeometry
from monai_dgm.transforms.placement import Placement, plane_nifti
from monai_dgm.transforms.preparation import RadiographSource
from monai_dgm.utils.atomic import atomic_write
from monai_dgm.utils.png import encode_png

OUTPUT_FILES = ("normal.png", "residue.png", "residue.nii.gz", "saliency.png", "overlay.png", "panel.png")
UNCERTAINTY_FILES = ("uncertainty.nii.gz", "uncertainty.png")
OUTPUTS: dict[str, tuple[str, ...]] = {
    "all": OUTPUT_FILES,
    "maps": ("normal.png", "residue.nii.gz", "saliency.png"),
    "scores": (),
}
"""Which files are written for each radiograph: all of them, those that programs read, or none beside the JSON file."""
RESIDUE_PNG_SCALE = 0.5  # fixed, so that the pictures of two radiographs compare
COMPRESSION = 1  # of the palette PNG files; higher levels take twice as long and gain little
RESIDUE_STEP = 2.0**-12  # 1/32 of a grey level in 256; rounding to it halves the file


def write_decomposition(
    folder: str | os.PathLike[str],
    decomposition: Decomposition,
    source: RadiographSource,
    panel: bool = True,
    opacities: OpacityBoxes | None = None,
    remarks: Sequence[str] = (),
    uncertainty: NDArray[np.float32] | None = None,
    outputs: str = "all",
) -> dict[str, Any]:
    """Write ``OUTPUT_FILES`` into ``folder``; earlier ones are replaced only when all new ones are complete.

    Args:
        folder: made when missing.
        decomposition: of one radiograph.
        source: of the same radiograph.
        panel: write panel.png, too.
        opacities: of a detector, drawn in the overlay; None draws the boxes of the saliency.
        remarks: reasons why this may be no frontal chest radiograph.
        uncertainty: of the residue, (S, S) in model coordinates; None writes no ``UNCERTAINTY_FILES``.
        outputs: which files, one of ``OUTPUTS``.

    Returns:
        What scores.json says of the image: :func:`scores`.

    Raises:
        OSError: the folder cannot be written; what was there is left as it was.
    """
    target = Path(folder)
    wanted = OUTPUTS[outputs] if panel else tuple(name for name in OUTPUTS[outputs] if name != "panel.png")
    if uncertainty is not None:
        wanted += UNCERTAINTY_FILES if outputs == "all" else UNCERTAINTY_FILES[:1] if outputs == "maps" else ()
    made = not target.exists()
    try:
        with ExitStack() as files:  # renames when all are written
            if wanted:
                makers = _makers(decomposition, to_original(decomposition), source, opacities, remarks)
                if uncertainty is not None:
                    plane = np.clip(decomposition.geometry.map_to_original(uncertainty), 0, 1)  # it may overshoot
                    makers |= _uncertainty_makers(plane, source.placement)
                for name in wanted:
                    files.enter_context(atomic_write(target / name)).write_bytes(makers[name]())
    except BaseException:
        if made and target.is_dir() and not any(target.iterdir()):
            target.rmdir()
        raise
    # of an earlier run: they would show another decomposition
    for name in {*OUTPUT_FILES, *UNCERTAINTY_FILES} - {*wanted}:
        (target / name).unlink(missing_ok=True)
    return scores(decomposition, source, remarks)


def _makers(
    decomposition: Decomposition,
    original: OriginalDecomposition,
    source: RadiographSource,
    opacities: OpacityBoxes | None = None,
    remarks: Sequence[str] = (),
) -> dict[str, Callable[[], bytes]]:
    geometry = decomposition.geometry
    return {
        "residue.nii.gz": lambda: residue_nifti(original.residue, source.placement),
        "residue.png": lambda: colours.palette_png(
            colours.residue_levels(original.residue, RESIDUE_PNG_SCALE), colours.RESIDUE_COLOURS, None, COMPRESSION
        ),
        "normal.png": lambda: encode_png(
            normal_levels(original, geometry, source), f"Synthetic normal image. {DISCLAIMER}."
        ),
        "saliency.png": lambda: encode_png(saliency_levels(original), f"Saliency. {DISCLAIMER}."),
        "overlay.png": lambda: overlay_png(decomposition, original, source, opacities, remarks),
        "panel.png": lambda: panel_figure([panel_of(decomposition, source)]),
    }


def _uncertainty_makers(plane: NDArray[np.float32], placement: Placement) -> dict[str, Callable[[], bytes]]:
    levels = np.rint(plane * 255).astype(np.uint8)
    description = "Uncertainty of DGM residue. Research, not for diagnosis."
    return {
        "uncertainty.nii.gz": lambda: residue_nifti(plane, placement, description),
        "uncertainty.png": lambda: colours.palette_png(levels, colours.UNCERTAINTY_COLOURS, None, COMPRESSION),
    }


def scores(
    decomposition: Decomposition,
    source: RadiographSource,
    remarks: Sequence[str] = (),
) -> dict[str, Any]:
    """The numbers of one decomposed radiograph, as JSON can hold them; boxes in the original's pixels."""
    black, white = normal_range(decomposition.geometry, source)
    return {
        "image_id": source.image_id,
        **decomposition_values(decomposition),
        "normal_png_range": [round(black, 6), round(white, 6)],
        "remarks": list(remarks),
    }


def normal_range(geometry: RadiographGeometry, source: RadiographSource) -> tuple[float, float]:
    """Values of the original that black and white of normal.png stand for.

    PNG and JPEG: the file's own levels, so that the two can be subtracted. DICOM and NIfTI: the range that the network
    saw, since their values may be negative or fill a small part of 16 bits.
    """
    if source.format in ("png", "jpeg"):
        return 0.0, float(2**source.bits - 1)
    return geometry.low, geometry.high


def normal_levels(
    original: OriginalDecomposition, geometry: RadiographGeometry, source: RadiographSource
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


def stepped_residue(residue: NDArray[np.float32]) -> NDArray[np.float32]:
    """A residue rounded to ``RESIDUE_STEP``, without negative zeros, so that its file packs well."""
    return (np.rint(residue * np.float32(1 / RESIDUE_STEP)) * np.float32(RESIDUE_STEP)).astype(np.float32) + np.float32(
        0
    )


def residue_nifti(
    residue: NDArray[np.float32],
    placement: Placement,
    description: str = "DGM residue, [-1, 1] scale. Research, not for diagnosis.",
) -> bytes:
    """A residue (rows, cols) in units of the [-1, 1] scale as residue.nii.gz: float32, array shape (cols, rows)."""
    return plane_nifti(stepped_residue(residue), placement, description, flat=True)


def overlay_png(
    decomposition: Decomposition,
    original: OriginalDecomposition,
    source: RadiographSource,
    opacities: OpacityBoxes | None = None,
    remarks: Sequence[str] = (),
) -> bytes:
    """overlay.png: see :func:`monai_dgm.engines.overlay.draw_overlay`; boxes as in :func:`write_decomposition`."""
    shown = opacities or OpacityBoxes(original.boxes, original.box_scores)
    parts = [] if math.isnan(decomposition.probability) else [f"p(abnormal) {decomposition.probability:.2f}"]
    parts.append(LUNG_BOX_WORDS[decomposition.saliency.lung_box_source])
    parts.append("boxes of the saliency" if opacities is None else "boxes of the detector")
    caption = ", ".join([*parts, *remarks])
    softness = 0.5 * max(source.display.shape) / decomposition.geometry.size  # half a pixel of the model's
    picture = draw_overlay(source.display, original.heat, shown.boxes, shown.scores, caption, softness)
    return encode_png(np.asarray(picture), f"{DISCLAIMER}.")


def panel_of(decomposition: Decomposition, source: RadiographSource) -> Panel:
    """The report's panel of one radiograph, with its true opacity boxes where they are known."""
    saliency, probability = decomposition.saliency, decomposition.probability
    shown = [] if math.isnan(probability) else [f"p(abnormal) {probability:.2f}"]
    return Panel(
        image=decomposition.image,
        normal=decomposition.normal,
        residue=decomposition.residue,
        saliency=saliency.heat,
        boxes=decomposition.geometry.boxes_to_model(source.opacity_boxes),
        caption=" · ".join([source.image_id, *shown]),
        lung_box_source=saliency.lung_box_source,
        lung_box=None if saliency.lung_box_source == "whole_image" else saliency.lung_box,
    )
