"""How the metrics of a decomposition are called on the report page, with their order and headings."""

from __future__ import annotations

from dataclasses import dataclass

HIGHER, LOWER, NEITHER = "higher", "lower", ""


@dataclass(frozen=True)
class MetricName:
    """How a metric is called on the page.

    Attributes:
        label: its name.
        meaning: what it measures, in one line.
        better: "higher", "lower", or "" where neither is better.
        unit_interval: whether it lies in [0, 1], so that it can be drawn on a line.
    """

    label: str
    meaning: str
    better: str = HIGHER
    unit_interval: bool = True


METRIC_SECTIONS: dict[str, dict[str, MetricName]] = {
    "Normal against abnormal": {
        "head_auc": MetricName("Abnormality head, AUC", "one neuron on the residue encoder"),
        "head_ap": MetricName("Abnormality head, average precision", "abnormal is the positive class"),
        "residue_auc": MetricName("Mean |a|, AUC", "by the strength of the residue alone"),
        "residue_ap": MetricName("Mean |a|, average precision", "abnormal is the positive class"),
    },
    "Strength of the residue": {
        "residue_mean_normal": MetricName("Mean |a| on normals", "should be close to 0", LOWER, False),
        "residue_mean_abnormal": MetricName("Mean |a| on abnormals", "what was taken out", NEITHER, False),
        "residue_ratio": MetricName("|a|, abnormal over normal", "ratio of the two means", unit_interval=False),
    },
    "Location of the residue": {
        "residue_pixel_ap": MetricName("Residue, pixel average precision", "|a| against the opacities, all pixels"),
        "residue_pixel_ap_image_mean": MetricName(
            "Residue, pixel average precision per image", "each image ranked by itself, then averaged"
        ),
        "residue_pixel_ap_smoothed": MetricName(
            "Smoothed residue, pixel average precision", "all pixels, |a| after a Gaussian of side / 64"
        ),
        "pointing_game": MetricName("Pointing game", "the peak of the smoothed |a| lies in an opacity"),
        "pointing_game_smallest_third": MetricName(
            "Pointing game, small opacities", "the third of the images with the smallest opacities"
        ),
        "residue_area_correlation": MetricName(
            "Mean |a| and opacity area, correlation", "Pearson, on images with opacities", unit_interval=False
        ),
        "removed_pixel_ap": MetricName(
            "Removed, pixel average precision", "the smoothed positive part of z − y' in place of |a|"
        ),
        "removed_pixel_ap_image_mean": MetricName(
            "Removed, pixel average precision per image", "the same, each image ranked by itself"
        ),
        "removed_pointing_game": MetricName("Removed, pointing game", "the peak of z − y' lies in an opacity"),
    },
    "Residue above priors that do not look at the image": {
        f"{metric}/above_{prior}": MetricName(f"{label} above the {name}", "paired difference", unit_interval=False)
        for metric, label in (
            ("residue_pixel_ap", "Pixel AP"),
            ("residue_pixel_ap_image_mean", "Pixel AP per image"),
            ("pointing_game", "Pointing game"),
        )
        for prior, name in (
            ("mean_box_prior", "mean box prior"),
            ("lung_aligned_prior", "lung-aligned prior"),
            ("mean_blob", "mean blob"),
        )
    },
    "Agreement of residue and normal image": {
        "identity_error_normal": MetricName(
            "|z − y' − a| on normals", "0 where normal image and residue add up to the radiograph", LOWER, False
        ),
        "identity_error_abnormal": MetricName("|z − y' − a| on abnormals", "the same", LOWER, False),
    },
    "Normal image": {
        "normal_ssim": MetricName("SSIM to the input", "on normals, where the normal image should be the input"),
        "normal_l1": MetricName("L1 to the input", "on normals, [−1, 1] scale", LOWER, False),
        "sharpness_ratio": MetricName("Sharpness over the input's", "gradient energy on normals; 1: as sharp", NEITHER),
        "normal_std_ratio": MetricName(
            "Standard deviation over patients, over the inputs'", "0: every patient gets the same normal image"
        ),
    },
    "Against the true normal": {
        "lesion_error_reduction": MetricName("Error removed from lesions", "share of the lesion's L1 that is gone"),
        "lesion_l1_image": MetricName("Lesion, L1 of the input", "what the disease changed", NEITHER, False),
        "lesion_l1_normal": MetricName("Lesion, L1 of the normal image", "what is left of it", LOWER, False),
        "outside_lesion_l1_normal": MetricName(
            "Outside lesions, L1 of the normal image", "false changes", LOWER, False
        ),
    },
}
OTHER_SECTION = "Other metrics"
CARDS = {
    "head_auc": "Head, AUC",
    "residue_pixel_ap": "Residue, pixel average precision",
    "pointing_game": "Pointing game",
    "residue_ratio": "|a|, abnormal over normal",
    "lesion_error_reduction": "Error removed from lesions",
    "normal_ssim": "Normal image, SSIM on normals",
    "normal_std_ratio": "Normal images, standard deviation",
}
"""The main metrics, shown large at the top of the page: those of the first six that a run has."""


def name_of(metric: str) -> MetricName:
    """Label and meaning of a metric; an unknown metric keeps its own name."""
    known = {name: words for section in METRIC_SECTIONS.values() for name, words in section.items()}
    return known.get(metric) or MetricName(metric.replace("_", " ").replace("/", ", "), "", NEITHER, False)
