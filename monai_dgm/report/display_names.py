"""Names of the figures in words, in the order and under the headings in which the page shows them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DisplayName:
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

METRIC_SECTIONS: dict[str, dict[str, DisplayName]] = {
    "Normal against abnormal": {
        "head_auc": DisplayName("Abnormality head, AUC", "one neuron on the residue encoder"),
        "head_ap": DisplayName("Abnormality head, average precision", "abnormal is the positive class"),
        "residue_auc": DisplayName("Mean |a|, AUC", "by the strength of the residue alone"),
        "residue_ap": DisplayName("Mean |a|, average precision", "abnormal is the positive class"),
    },
    "Strength of the residue": {
        "residue_mean_normal": DisplayName("Mean |a| on normals", "should be blank", _LOWER, False),
        "residue_mean_abnormal": DisplayName("Mean |a| on abnormals", "what was taken out", _NEITHER, False),
        "residue_ratio": DisplayName("|a|, abnormal over normal", "ratio of the two means", unit_interval=False),
    },
    "Place of the residue": {
        "residue_pixel_ap": DisplayName(
            "Residue, pixel average precision", "|a| against the opacities, pixels of all their images pooled"
        ),
        "residue_pixel_ap_image_mean": DisplayName(
            "Residue, pixel average precision by image", "each image ranked by itself, then averaged"
        ),
        "residue_pixel_ap_smoothed": DisplayName(
            "Smoothed residue, pixel average precision", "pooled, |a| after a Gaussian of side / 64"
        ),
        "pointing_game": DisplayName("Pointing game", "the peak of the smoothed |a| lies in an opacity"),
    },
    "Normal image": {
        "normal_ssim": DisplayName("SSIM to the input", "on normals, where the normal image should be the input"),
        "normal_l1": DisplayName("L1 to the input", "on normals, [−1, 1] scale", _LOWER, False),
        "sharpness_ratio": DisplayName(
            "Sharpness over the input's", "gradient energy on normals; 0 is blurred, 1 as sharp", _NEITHER
        ),
        "normal_std_ratio": DisplayName(
            "Spread over patients over the inputs'", "0 when every patient gets the same normal image"
        ),
    },
    "Against the true normal": {
        "lesion_error_reduction": DisplayName(
            "Error taken out of lesions", "share of the L1 over the lesion that is gone"
        ),
        "lesion_l1_image": DisplayName("Lesion, L1 of the input", "what the disease changed", _NEITHER, False),
        "lesion_l1_normal": DisplayName("Lesion, L1 of the normal image", "what is left of it", _LOWER, False),
        "outside_lesion_l1_normal": DisplayName(
            "Outside lesions, L1 of the normal image", "what was spoilt", _LOWER, False
        ),
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
    "normal_std_ratio": "Spread of normal images",
}
BASELINES = {
    "brightness": "brightness",
    "lung_box": "lung box",
    "lung_mask": "lung mask",
    "mean_box_prior": "mean box prior",
    "mean_lung_box": "mean lung box",
}


def section_of(name: str) -> str:
    """Heading under which a figure stands."""
    return next((section for section, words in METRIC_SECTIONS.items() if name in words), OTHER)


def display_name_of(name: str) -> DisplayName:
    """Words of a figure; of an unknown one its own name."""
    for words in METRIC_SECTIONS.values():
        if name in words:
            return words[name]
    return DisplayName(name.replace("_", " ").replace("/", ", "), "", _NEITHER, False)


def sections_order() -> list[str]:
    """Headings in order, unknown figures last."""
    return [*METRIC_SECTIONS, OTHER]
