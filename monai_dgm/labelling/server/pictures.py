"""Maps of a decomposition for viewers that lay them over the radiograph: one grey level a pixel, as PNG.

The viewer colours the levels itself, so that a reader can change opacity and threshold without another request.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from monai_dgm.engines.decomposition.outputs import saliency_levels
from monai_dgm.engines.overlay import DISCLAIMER
from monai_dgm.engines.residues.decomposed_radiograph import OriginalDecomposition, to_original
from monai_dgm.labelling.server.analysis import AnalysisResult, RadiographAnalysis
from monai_dgm.labelling.server.request_options import known_name
from monai_dgm.report.colours import residue_levels, residue_scale
from monai_dgm.transforms.geometry import RadiographGeometry, display_levels, resize_antialiased

__all__ = ["LAYERS", "layer", "layer_png", "layers_of", "normal_picture"]

LAYERS = ("radiograph", "normal", "residue", "saliency", "uncertainty")


def layers_of(result: AnalysisResult) -> dict[str, dict[str, Any]]:
    """The maps by name, each with the values of its levels.

    "low" and "high" are the values of levels 1 and 255, and "unit" says what they are.
    """
    scale = round(_scale(result), 4)
    return {
        "residue": {"low": -scale, "high": scale, "unit": "residue, of the [-1, 1] scale"},
        "saliency": {"low": 0.0, "high": 1.0, "unit": "saliency"},
        "uncertainty": {"low": 0.0, "high": 1.0, "unit": "entropy of the residue, bits"},
    }


def layer(analysis: RadiographAnalysis, image_id: str, name: str) -> NDArray[np.uint8]:
    """One map over the whole radiograph as levels.

    Args:
        analysis: of the studies.
        image_id: the radiograph.
        name: of :data:`LAYERS`: "radiograph" and "normal" in the same grey levels, bright = dense; "residue", 128 is 0;
            "saliency", 0 outside the mask; "uncertainty" of the residue, for which the decomposer runs once more.

    Returns:
        uint8 (rows, cols) at the radiograph's aspect, the longest side 512 to 1024.

    Raises:
        UnknownError: another name.
        InputError: as :meth:`RadiographAnalysis.examine`.
    """
    known_name(name, LAYERS, "a map")
    result = analysis.examine(image_id, uncertainty=name == "uncertainty")
    if name == "radiograph":
        return result.source.display
    original = to_original(result.decomposition)
    if name == "normal":
        return normal_picture(original, result.decomposition.geometry)
    rows, cols = result.source.display.shape
    if result.uncertainty is not None:
        entropy = result.decomposition.geometry.map_to_original(result.uncertainty.map)
        return np.clip(resize_antialiased(entropy, rows, cols) * 255 + 0.5, 0, 255).astype(np.uint8)
    if name == "residue":
        return residue_levels(resize_antialiased(original.residue, rows, cols), _scale(result))
    return resize_antialiased(saliency_levels(original).astype(np.float32), rows, cols).round().astype(np.uint8)


def normal_picture(original: OriginalDecomposition, geometry: RadiographGeometry) -> NDArray[np.uint8]:
    """The synthesised normal image as grey levels, uint8 (rows, cols), the longest side 512 to 1024."""
    return display_levels(original.normal, geometry.low, geometry.high)


def layer_png(analysis: RadiographAnalysis, image_id: str, name: str) -> bytes:
    """:func:`layer` as PNG of 8 bits, with the warning in its description."""
    notes = PngInfo()
    notes.add_text("Description", f"Synthetic {name} map. {DISCLAIMER}.")
    buffer = io.BytesIO()
    Image.fromarray(layer(analysis, image_id, name)).save(buffer, "PNG", pnginfo=notes, compress_level=1)
    return buffer.getvalue()


def _scale(result: AnalysisResult) -> float:
    return residue_scale([result.decomposition.residue])
