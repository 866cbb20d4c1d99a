"""Pictures of a decomposition for viewers that lay them over the radiograph: PNG with the warning burnt in."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from monai_dgm.engines.overlay import DISCLAIMER
from monai_dgm.engines.residues.decomposed_radiograph import OriginalDecomposition, to_original
from monai_dgm.labelling.dicom_objects.secondary_capture import burn_in
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.request_options import known_name
from monai_dgm.report.colours import RESIDUE_COLOURS, residue_levels, residue_scale
from monai_dgm.transforms.geometry import RadiographGeometry, display_levels, resize_antialiased

__all__ = ["PICTURES", "normal_picture", "picture", "picture_png"]

PICTURES = ("normal", "residue")
GREY_BELOW_RESIDUE = 0.55  # share of the radiograph's brightness that the residue's colours are added to


def picture(analysis: RadiographAnalysis, image_id: str, name: str) -> NDArray[np.uint8]:
    """The normal image in grey, or the radiograph with its residue in the report's colours and scale (amber to white
    added, blue taken away).

    Args:
        analysis: of the studies.
        image_id: the radiograph.
        name: of :data:`PICTURES`.

    Returns:
        uint8 (rows, cols) or (rows, cols, 3) over the whole radiograph, bright = dense, at its aspect, the longest
        side 512 to 1024.

    Raises:
        UnknownError: another name.
        InputError: as :meth:`RadiographAnalysis.examine`.
    """
    known_name(name, PICTURES, "a picture")
    analysis_result = analysis.examine(image_id)
    decomposition = analysis_result.decomposition
    original, geometry = to_original(decomposition), decomposition.geometry
    if name == "normal":
        return normal_picture(original, geometry)
    grey = analysis_result.source.display
    residue = resize_antialiased(original.residue, *grey.shape)
    colours = RESIDUE_COLOURS[residue_levels(residue, residue_scale([residue]))].astype(np.float32)
    return np.clip(grey[..., None] * GREY_BELOW_RESIDUE + colours, 0, 255).astype(np.uint8)


def normal_picture(original: OriginalDecomposition, geometry: RadiographGeometry) -> NDArray[np.uint8]:
    """The synthesised normal image as grey levels, uint8 (rows, cols), the longest side 512 to 1024."""
    return display_levels(original.normal, geometry.low, geometry.high)


def picture_png(analysis: RadiographAnalysis, image_id: str, name: str) -> bytes:
    """:func:`picture` as PNG, the warning burnt in at its upper and lower edge."""
    notes = PngInfo()
    notes.add_text("Description", f"Synthetic {name} image. {DISCLAIMER}.")
    buffer = io.BytesIO()
    Image.fromarray(burn_in(picture(analysis, image_id, name))).save(buffer, "PNG", pnginfo=notes, compress_level=1)
    return buffer.getvalue()
