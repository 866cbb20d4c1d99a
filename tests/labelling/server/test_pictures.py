from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.http_errors import UnknownError
from monai_dgm.labelling.server.pictures import LAYERS, layer, layer_png, layers_of


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_covers_the_radiograph(analysis: RadiographAnalysis, name: str) -> None:
    levels = layer(analysis, "a", name)
    assert levels.dtype == np.uint8 and levels.ndim == 2 and max(levels.shape) >= 512
    assert levels.shape[1] / levels.shape[0] == pytest.approx(120 / 90, rel=0.01)
    shown = Image.open(io.BytesIO(layer_png(analysis, "a", name)))
    assert "not for diagnosis" in shown.info["Description"]
    np.testing.assert_array_equal(np.asarray(shown), levels)


def test_levels_stand_for_the_values_that_are_stated(analysis: RadiographAnalysis) -> None:
    result = analysis.examine("a")
    stated = layers_of(result)
    assert stated.keys() <= set(LAYERS)
    residue = result.decomposition.geometry.map_to_original(result.decomposition.residue)
    levels = np.asarray(Image.fromarray(layer(analysis, "a", "residue")).resize(residue.shape[::-1]), dtype=float)
    values = (levels - 128) / 127 * stated["residue"]["high"]
    inside = np.abs(residue) < stated["residue"]["high"]
    assert np.abs(values - residue)[inside].max() < 0.25 * stated["residue"]["high"]
    assert np.corrcoef(values.ravel(), residue.ravel())[0, 1] > 0.95
    original = np.asarray(Image.fromarray(layer(analysis, "a", "radiograph")).resize(residue.shape[::-1]), dtype=float)
    assert np.corrcoef(original.ravel(), analysis.view("a").radiograph.pixels.ravel())[0, 1] > 0.95


def test_another_name_is_refused(analysis: RadiographAnalysis) -> None:
    with pytest.raises(UnknownError):
        layer(analysis, "a", "../normal")
