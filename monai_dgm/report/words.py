"""Names of the figures in words, in the order and under the headings in which the page shows them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """How a figure is called on the page.

    Attributes:
        label: its name.
        meaning: what it is, in a line.
        better: "higher", "lower", or "" where neither is.
        unit_interval: it lies in [0, 1], so that it can be drawn on a line.
    """

    label: str
    meaning: str
    better: str = "higher"
    unit_interval: bool = True


_LOWER, _NEITHER = "lower", ""

METRIC_SECTIONS: dict[str, dict[str, Words]] = {
    "Normal against abnormal": {
        "head_auc": Words("Abnormality head, AUC", "one neuron on the residue encoder"),
        "head_ap": Words("Abnormality head, average precision", "abnormal is the positive class"),
        "residue_auc": Words("Mean |a|, AUC", "by the strength of the residue alone"),
        "residue_ap": Words("Mean |a|, average precision", "abnormal is the positive class"),
    },
    "Strength of the residue": {
        "residue_mean_normal": Words("Mean |a| on normals", "should be blank", _LOWER, False),
        "residue_mean_abnormal": Words("Mean |a| on abnormals", "what was taken out", _NEITHER, False),
        "residue_ratio": Words("|a|, abnormal over normal", "ratio of the two means", unit_interval=False),
    },
    "Place of the residue": {
        "residue_pixel_ap": Words(
            "Residue, pixel average precision", "|a| against the opacities, pixels of all their images pooled"
        ),
        "residue_pixel_ap_image_mean": Words(
            "Residue, pixel average precision by image", "each image ranked by itself, then averaged"
        ),
        "residue_pixel_ap_smoothed": Words(
            "Smoothed residue, pixel average precision", "pooled, |a| after a Gaussian of side / 64"
        ),
        "pointing_game": Words("Pointing game", "the peak of the smoothed |a| lies in an opacity"),
        "pointing_game_smallest_third": Words("Pointing game, small opacities", "the third with the smallest boxes"),
        "residue_area_correlation": Words(
            "Mean |a| and opacity area, correlation", "Pearson, on images with opacities", unit_interval=False
        ),
        "removed_pixel_ap": Words("Removed, pixel average precision", "smoothed z − y' where positive, instead of |a|"),
        "removed_pixel_ap_image_mean": Words("Removed, pixel average precision by image", "as for the residue"),
        "removed_pointing_game": Words("Removed, pointing game", "the peak of z − y' lies in an opacity"),
    },
    "Residue above priors that never look": {
        f"{figure}/above_{prior}": Words(f"{label} above the {name}", "paired difference", unit_interval=False)
        for figure, label in (
            ("residue_pixel_ap", "Pixel AP"),
            ("residue_pixel_ap_image_mean", "Pixel AP by image"),
            ("pointing_game", "Pointing game"),
        )
        for prior, name in (
            ("mean_box_prior", "mean box prior"),
            ("lung_aligned_prior", "lung-aligned prior"),
            ("mean_blob", "mean blob"),
        )
    },
    "Residue and normal image agree": {
        "identity_error_normal": Words(
            "|z − y' − a| on normals", "0 where they add up to the radiograph", _LOWER, False
        ),
        "identity_error_abnormal": Words("|z − y' − a| on abnormals", "as above", _LOWER, False),
    },
    "Normal image": {
        "normal_ssim": Words("SSIM to the input", "on normals, where the normal image should be the input"),
        "normal_l1": Words("L1 to the input", "on normals, [−1, 1] scale", _LOWER, False),
        "sharpness_ratio": Words(
            "Sharpness over the input's", "gradient energy on normals; 0 is blurred, 1 as sharp", _NEITHER
        ),
        "normal_spread_ratio": Words(
            "Spread over patients over the inputs'", "0 when every patient gets the same normal image"
        ),
    },
    "Against the true normal": {
        "lesion_error_reduction": Words("Error taken out of lesions", "share of the L1 over the lesion that is gone"),
        "lesion_l1_image": Words("Lesion, L1 of the input", "what the disease changed", _NEITHER, False),
        "lesion_l1_normal": Words("Lesion, L1 of the normal image", "what is left of it", _LOWER, False),
        "outside_lesion_l1_normal": Words("Outside lesions, L1 of the normal image", "what was spoilt", _LOWER, False),
    },
}
OTHER = "Other figures"
CARDS = {
    "head_auc": "Head, AUC",
    "residue_pixel_ap": "Residue, pixel average precision",
    "pointing_game": "Pointing game",
    "residue_ratio": "|a|, abnormal over normal",
    "lesion_error_reduction": "Error taken out of lesions",
    "normal_ssim": "Normal image, SSIM on normals",
    "normal_spread_ratio": "Spread of normal images",
}
BASELINES = {
    "brightness": "brightness",
    "lung_aligned_prior": "lung-aligned prior",
    "lung_box": "lung box",
    "lung_mask": "lung mask",
    "mean_blob": "mean blob",
    "mean_box_prior": "mean box prior",
    "mean_lung_box": "mean lung box",
}


def section_of(name: str) -> str:
    """Heading under which a figure stands."""
    return next((section for section, words in METRIC_SECTIONS.items() if name in words), OTHER)


def words_for(name: str) -> Words:
    """Words of a figure; of an unknown one its own name."""
    for words in METRIC_SECTIONS.values():
        if name in words:
            return words[name]
    return Words(name.replace("_", " ").replace("/", ", "), "", _NEITHER, False)


def sections_order() -> list[str]:
    """Headings in order, unknown figures last."""
    return [*METRIC_SECTIONS, OTHER]
