import json
import math

import numpy as np
import pytest

from monai_dgm.errors import InputError
from monai_dgm.metrics.burden import ResidueBurden, fit_burden_threshold, lung_zones, model_spacing, residue_burden
from monai_dgm.transforms.geometry import RadiographGeometry
from monai_dgm.transforms.saliency import compute_saliency

SIZE = 48


def two_lungs() -> np.ndarray:
    """The right lung (image left) is 30 rows high, the left one 36."""
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[6:36, 6:18] = mask[6:42, 28:44] = True
    return mask


def random_residue(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    residue = rng.normal(0, 0.1, (SIZE, SIZE)).astype(np.float32)
    return residue, residue > 0.1


@pytest.mark.parametrize("spacing", [None, (0.4, 0.7)])
def test_zones_add_up_to_lungs_and_lungs_to_the_total(spacing: tuple[float, float] | None) -> None:
    burden = residue_burden(*random_residue(), two_lungs(), spacing)
    assert list(burden.lungs) == ["right", "left"] and len(burden.zones) == 6
    for name in ("area", "salient_area", "integrated", "integrated_signed"):
        assert sum(getattr(lung, name) for lung in burden.lungs.values()) == pytest.approx(getattr(burden.total, name))
        for side, lung in burden.lungs.items():
            parts = [getattr(zone, name) for key, zone in burden.zones.items() if key.startswith(side)]
            assert len(parts) == 3 and sum(parts) == pytest.approx(getattr(lung, name))


def test_total_is_over_the_lungs_alone() -> None:
    residue, saliency = random_residue()
    burden = residue_burden(residue, saliency, two_lungs())
    assert burden.total.area == two_lungs().sum() and (burden.region, burden.unit) == ("lung_mask", "pixels")
    assert burden.total.salient_share == pytest.approx(saliency[two_lungs()].mean())
    assert burden.total.mean_abs_residue == pytest.approx(np.abs(residue[two_lungs()]).mean())
    loud = residue + 5 * ~two_lungs()
    assert residue_burden(loud, saliency | ~two_lungs(), two_lungs()) == burden


def test_spacing_turns_pixels_into_square_millimetres_and_leaves_shares() -> None:
    pixels, area = (residue_burden(*random_residue(), two_lungs(), spacing) for spacing in (None, (0.5, 0.8)))
    assert area.unit == "mm2" and area.pixel_spacing == (0.5, 0.8)
    for name in ("area", "salient_area", "integrated", "integrated_signed"):
        assert getattr(area.total, name) == pytest.approx(0.4 * getattr(pixels.total, name))
    assert area.total.salient_share == pytest.approx(pixels.total.salient_share)
    assert area.total.mean_abs_residue == pytest.approx(pixels.total.mean_abs_residue)


def test_finer_pixels_measure_the_same() -> None:
    residue, saliency = random_residue()
    coarse = residue_burden(residue, saliency, two_lungs(), (1.0, 1.0))
    fine = residue_burden(*(np.kron(x, np.ones((3, 3))) for x in (residue, saliency, two_lungs())), (1 / 3, 1 / 3))
    for name, zone in coarse.zones.items():
        assert fine.zones[name].salient_area == pytest.approx(zone.salient_area)
        assert fine.zones[name].integrated == pytest.approx(zone.integrated)


def test_no_residue_is_no_burden() -> None:
    blank = np.zeros((SIZE, SIZE))
    burden = residue_burden(blank, blank, two_lungs(), (1.0, 1.0))
    for part in (burden.total, *burden.lungs.values(), *burden.zones.values()):
        assert part.salient_area == part.integrated == part.integrated_signed == part.salient_share == 0


def test_burden_grows_with_the_residue_and_signs_cancel() -> None:
    residue, saliency = random_residue()
    one, two, negative = (residue_burden(k * residue, saliency, two_lungs()).total for k in (1, 2, -1))
    assert (two.integrated, two.integrated_signed) == pytest.approx((2 * one.integrated, 2 * one.integrated_signed))
    assert negative.integrated == pytest.approx(one.integrated)
    assert negative.integrated_signed == pytest.approx(-one.integrated_signed)
    assert abs(one.integrated_signed) <= one.integrated


def test_a_lesion_is_in_its_lung_and_zone() -> None:
    residue = np.zeros((SIZE, SIZE))
    residue[36:40, 30:40] = 0.5  # low in the image's right: the patient's left lung
    burden = residue_burden(residue, residue > 0, two_lungs())
    assert burden.lungs["right"].integrated == 0 and burden.lungs["left"].integrated == pytest.approx(20)
    assert [name for name, zone in burden.zones.items() if zone.salient_area] == ["left_lower"]


def test_zones_are_thirds_of_the_height_and_part_the_lung() -> None:
    lung = np.zeros((SIZE, SIZE), dtype=bool)
    lung[6:36, 6:18] = True
    zones = lung_zones(lung)
    assert [np.flatnonzero(zone.any(axis=1))[[0, -1]].tolist() for zone in zones] == [[6, 15], [16, 25], [26, 35]]
    np.testing.assert_array_equal(np.sum(zones, axis=0), lung)
    for height in (1, 2, 4, 5):
        flat = np.zeros((9, 9), dtype=bool)
        flat[3 : 3 + height, 2:4] = True
        np.testing.assert_array_equal(np.sum(lung_zones(flat), axis=0), flat)


@pytest.mark.parametrize("lung_mask", [None, np.zeros((SIZE, SIZE), dtype=bool)])
def test_without_lungs_the_whole_image_counts_and_says_so(lung_mask: np.ndarray | None) -> None:
    residue, saliency = random_residue()
    burden = residue_burden(residue, saliency, lung_mask)
    assert burden.region == "whole_image" and not burden.lungs and not burden.zones
    assert burden.total.area == SIZE**2 and burden.total.salient_share == pytest.approx(saliency.mean())


def test_one_lung_leaves_the_other_empty_not_wrong() -> None:
    mask = two_lungs()
    mask[:, 24:] = False
    burden = residue_burden(*random_residue(), mask)
    assert burden.lungs["left"].area == 0 and math.isnan(burden.lungs["left"].salient_share)
    assert burden.lungs["right"] == burden.total
    assert burden.as_dict()["lungs"]["left"]["salient_share"] is None


@pytest.mark.parametrize("lung_mask", [None, two_lungs(), np.tri(SIZE, dtype=bool)])
@pytest.mark.parametrize("spacing", [None, (0.5, 0.5)])
def test_json_holds_it(lung_mask: np.ndarray | None, spacing: tuple[float, float] | None) -> None:
    burden = residue_burden(*random_residue(), lung_mask, spacing)
    text = json.dumps(burden.as_dict(), allow_nan=False)
    assert ResidueBurden.from_dict(json.loads(text)) == burden


def test_spacing_of_the_model_covers_the_original() -> None:
    geometry = RadiographGeometry(rows=2000, cols=1000, size=100, pixel_spacing=(0.2, 0.1))
    assert model_spacing(geometry) == pytest.approx((4.0, 2.0))
    assert model_spacing(RadiographGeometry(rows=10, cols=10, size=10)) is None


def test_what_cannot_be_measured_is_refused() -> None:
    residue, saliency = random_residue()
    with pytest.raises(ValueError, match="saliency: expected"):
        residue_burden(residue, saliency[1:])
    with pytest.raises(ValueError, match="lung_mask: expected"):
        residue_burden(residue, saliency, two_lungs()[1:])
    with pytest.raises(ValueError, match="finite"):
        residue_burden(residue * np.nan, saliency)
    with pytest.raises(ValueError, match="positive"):
        residue_burden(residue, saliency, None, (0.0, 1.0))


def normals(count: int = 3) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Residues of different strength, and lungs of different size."""
    masks = [two_lungs() & (np.arange(SIZE) >= 6 * seed)[:, None] for seed in range(count)]
    return [(1 + seed) * random_residue(seed)[0] for seed in range(count)], masks


@pytest.mark.parametrize("share", [0.0, 0.003, 0.01, 0.25, 0.9])
def test_the_share_asked_for_is_salient_in_the_images_it_was_fitted_on(share: float) -> None:
    residues, masks = normals()
    threshold = fit_burden_threshold(residues, masks, share)
    salient = area = 0.0
    for residue, mask in zip(residues, masks, strict=True):
        found = compute_saliency(residue, threshold=threshold, lung_mask=mask).mask
        total = residue_burden(residue, found, mask).total
        salient, area = salient + total.salient_area, area + total.area
    assert salient / area == pytest.approx(share, abs=1 / area)


def test_the_threshold_falls_with_the_share_and_grows_with_the_residue() -> None:
    residues, masks = normals()
    fitted = [fit_burden_threshold(residues, masks, share) for share in (0.0, 0.001, 0.01, 0.1, 0.5)]
    assert fitted == sorted(fitted, reverse=True) and len(set(fitted)) == len(fitted)
    for factor in (2, -2):
        assert fit_burden_threshold([factor * a for a in residues], masks, 0.01) == pytest.approx(2 * fitted[2])


def test_the_threshold_knows_no_order_and_nothing_beyond_the_lungs() -> None:
    residues, masks = normals()
    fitted = fit_burden_threshold(residues, masks)
    assert fit_burden_threshold(residues[::-1], masks[::-1]) == fitted
    assert fit_burden_threshold(residues * 2, masks * 2, 0.1) == pytest.approx(
        fit_burden_threshold(residues, masks, 0.1), rel=1e-2
    )
    far = np.zeros((SIZE, SIZE), dtype=bool)
    far[:, 24] = True  # the smoothing reaches 4 sigma, 3 pixels
    assert fit_burden_threshold([a + 5 * far for a in residues], masks) == fitted
    assert fit_burden_threshold([*residues, 9 + residues[0]], [*masks, np.zeros_like(far)]) == fitted


def test_what_no_threshold_can_be_fitted_on_is_refused() -> None:
    (residue, *_), (mask, *_) = normals()
    for residues, masks in (([], []), ([residue], [np.zeros_like(mask)])):
        with pytest.raises(InputError, match=r"^lung_masks: expected pixels of lungs, there are none in \d radiograph"):
            fit_burden_threshold(residues, masks)
    for value in (np.nan, np.inf):
        with pytest.raises(InputError, match="^residue 1: expected finite values"):
            fit_burden_threshold([residue, np.full_like(residue, value)], [mask, mask])
    with pytest.raises(InputError, match="^residue 0: expected two planes"):
        fit_burden_threshold([residue], [mask[1:]])
    with pytest.raises(InputError, match="^residue 0: expected two planes"):
        fit_burden_threshold([residue[None]], [mask[None]])
    with pytest.raises(InputError, match="^lung_masks: expected one per residue, 1, got 2"):
        fit_burden_threshold([residue], [mask, mask])
    for share in (-0.1, 1.0, math.nan):
        with pytest.raises(InputError, match="^share: expected a number in"):
            fit_burden_threshold([residue], [mask], share)
