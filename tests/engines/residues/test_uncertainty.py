"""Uncertainty of residues: what agrees is certain, what depends on the side is not, and nothing else changes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.engines.pipeline_loading import load_pipeline
from monai_dgm.engines.radiograph_result import RadiographResult
from monai_dgm.engines.residues.uncertainty import SCALE, ResidueUncertainty, disagreement
from monai_dgm.errors import InputError
from monai_dgm.readers.radiograph import Radiograph
from monai_dgm.transforms.preparation import prepare
from tests.decomposers import write_decomposer

SIZE = 32
HALF = SCALE * math.log(2)  # marked with probability 0.5


class Constant(nn.Module):
    """A residue system whose residue is ``left`` on the left half of what it sees, and ``right`` on the right."""

    def __init__(self, left: float, right: float) -> None:
        super().__init__()
        self.left, self.right = left, right

    def forward(self, image: Tensor) -> Tensor:
        residue = torch.full_like(image, self.left)
        residue[..., image.shape[-1] // 2 :] = self.right
        return torch.cat((image, residue, torch.full_like(image, 0.5)), dim=1)


def radiograph(rows: int = 64, cols: int = 40) -> Radiograph:
    pixels = np.random.default_rng(0).uniform(20, 220, (rows, cols)).astype(np.float32)
    return Radiograph(pixels, None, "png", None, None, None, 8)


def measured(pipeline: RadiographPipeline, number: int = 1) -> list[ResidueUncertainty]:
    results = pipeline([prepare(radiograph(64, 40 + 4 * i), SIZE) for i in range(number)])
    found = [result.uncertainty for result in results if isinstance(result, RadiographResult)]
    assert len(found) == number and all(one is not None for one in found)
    return found  # type: ignore[return-value]


def test_a_residue_that_is_clearly_there_whatever_the_side_is_certain() -> None:
    for value in (0.0, 3.0):  # surely not marked, surely marked
        (found,) = measured(RadiographPipeline(Constant(value, value), SIZE, uncertainty=True))
        assert found.passes == 2 and found.score == 0 and found.map.max() < 1e-6
    (undecided,) = measured(RadiographPipeline(Constant(HALF, HALF), SIZE, uncertainty=True))
    np.testing.assert_allclose(undecided.map[:, 6:26], 1, atol=1e-5)  # one bit
    assert undecided.score == 0  # the passes agree that they do not know


def test_what_only_one_pass_marks_is_as_uncertain_as_can_be() -> None:
    """Of the mirror image the system says right where it said left: marked in one pass, not in the other."""
    (found,) = measured(RadiographPipeline(Constant(0.0, 5.0), SIZE, uncertainty=True))
    np.testing.assert_allclose(found.map[:, 6:26], 1, atol=1e-5)  # 40 of 64 columns
    assert found.map.shape == (SIZE, SIZE) and not found.map[:, :6].any() and not found.map[:, 26:].any()
    assert found.score == pytest.approx(1, abs=5e-3)


def test_members_and_their_mirror_images_count_like_the_first() -> None:
    systems = [Constant(0.0, 0.0), Constant(0.0, 0.0), Constant(5.0, 5.0)]
    pipeline = RadiographPipeline(systems[0], SIZE, uncertainty=True, members=systems[1:])
    (found,) = measured(pipeline)
    assert found.passes == pipeline.passes == 6
    third = -(1 / 3 * math.log2(1 / 3) + 2 / 3 * math.log2(2 / 3))
    np.testing.assert_allclose(found.map[:, 6:26], third, atol=1e-5)
    assert found.score == pytest.approx(math.sqrt(2) / math.sqrt(5), rel=1e-2)  # one of three; all alone would be 1


@pytest.mark.parametrize("passes", [2, 4])
def test_disagreement_is_between_0_and_1_and_has_no_unit(passes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    marked = torch.rand(passes, 500, generator=generator)
    value = disagreement(marked)
    assert 0 < value < 1 and disagreement(marked[:1].expand(passes, -1)) < 1e-6
    assert disagreement(marked / 5) == pytest.approx(value, rel=0.02)
    assert disagreement(torch.rand(passes, 500, generator=generator) * 1e-6) < 0.01  # nothing is marked
    alone = torch.zeros(passes, 500)
    alone[0, :50] = 1
    assert value < disagreement(alone) < 1


def test_a_batch_gives_the_same_as_its_images_one_by_one(tmp_path: Path) -> None:
    pipeline = load_pipeline(write_decomposer(tmp_path), uncertainty=True)
    together = measured(pipeline, 3)
    for i, found in enumerate(together):
        (alone,) = pipeline([prepare(radiograph(64, 40 + 4 * i), SIZE)])
        assert isinstance(alone, RadiographResult) and alone.uncertainty is not None
        np.testing.assert_allclose(found.map, alone.uncertainty.map, atol=1e-5)
        assert found.score > 0


def test_nothing_else_changes_and_it_can_be_had_later(tmp_path: Path) -> None:
    path = write_decomposer(tmp_path)
    plain, measuring = load_pipeline(path), load_pipeline(path, uncertainty=True)
    batch = [prepare(radiograph(), SIZE)]
    (without,), (with_it,) = plain(batch), measuring(batch)
    assert isinstance(without, RadiographResult) and isinstance(with_it, RadiographResult)
    assert without.decomposition is not None and with_it.decomposition is not None
    assert without.uncertainty is None and with_it.uncertainty is not None
    np.testing.assert_array_equal(without.decomposition.residue, with_it.decomposition.residue)
    assert without.decomposition.probability == with_it.decomposition.probability
    failed = InputError("no image")
    first, later = plain.with_uncertainty([failed, without])
    assert first is failed and isinstance(later, RadiographResult) and later.uncertainty is not None
    np.testing.assert_array_equal(later.uncertainty.map, with_it.uncertainty.map)


def test_members_that_do_not_fit_are_errors(tmp_path: Path) -> None:
    first, other = write_decomposer(tmp_path / "a"), write_decomposer(tmp_path / "b", image_size=64)
    with pytest.raises(InputError, match="expected a decomposer of 32 pixels, as the first one, got 64"):
        load_pipeline(first, member_paths=[other])
    with pytest.raises(InputError, match="there are none"):
        load_pipeline(first, member_paths=[tmp_path / "c" / "model.pt"])
    broken = Constant(float("nan"), 0.0)
    batch = [prepare(radiograph(), SIZE)]
    with pytest.raises(InputError, match="expected finite values from the network"):
        RadiographPipeline(Constant(0, 0), SIZE, uncertainty=True, members=[broken])(batch)
    with pytest.raises(InputError, match=r"members: expected the output of a decomposer, a tensor of shape \(1, 3"):
        RadiographPipeline(Constant(0, 0), SIZE, uncertainty=True, members=[nn.Identity()])(batch)
    with pytest.raises(InputError, match="expected a decomposer in the pipeline"):
        measure = RadiographPipeline(uncertainty=True)
        (result,) = RadiographPipeline(Constant(0, 0), SIZE)(batch)
        measure.with_uncertainty([result])
