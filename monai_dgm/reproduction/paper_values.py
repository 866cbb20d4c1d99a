"""What the paper prints in its Tables 4 to 7, in percent: mean and standard deviation over its five splits.

Tang et al., Medical Image Analysis 67, 101839, 2021; quoted as printed, also where a row contradicts itself
(``docs/fidelity.md``). All of it is of the RSNA challenge, and stands beside figures of these data only.
"""

from __future__ import annotations

from collections.abc import Mapping

from monai_dgm.reproduction.dataset_info import RSNA_DESCRIPTION, DatasetInfo

__all__ = ["PAPER_FIGURES", "PAPER_SIZES", "may_stand_beside", "paper_value"]

CLASSIFICATION = ("sensitivity", "specificity", "precision", "f1", "average_precision", "auc")
DETECTION = ("ap", "ap40", "ap50", "ap60", "ap70")

Printed = tuple[tuple[float, float], ...]

_DENSENET_ABNORMALITY: Printed = (
    (92.02, 0.51), (91.99, 0.55), (84.75, 0.47), (88.24, 0.44), (90.29, 0.34), (96.43, 0.12)
)  # fmt: skip

PAPER_FIGURES: Mapping[int, Mapping[str, Printed]] = {
    4: {
        "AlexNet": ((87.12, 0.96), (87.09, 0.92), (76.55, 1.04), (81.49, 0.76), (87.36, 0.59), (94.39, 0.37)),
        "VGGNet19": ((90.18, 0.71), (90.21, 0.69), (81.67, 0.64), (85.71, 0.55), (90.90, 0.29), (96.11, 0.14)),
        "ResNet152": ((89.88, 0.73), (89.91, 0.71), (81.16, 0.67), (85.30, 0.60), (90.21, 0.35), (95.95, 0.17)),
        "DenseNet161": _DENSENET_ABNORMALITY,
        "DenseNet161*": ((88.48, 0.89), (88.62, 0.85), (79.63, 0.92), (83.24, 0.68), (88.58, 0.47), (94.51, 0.35)),
        "DGM": ((90.18, 0.69), (90.36, 0.67), (81.89, 0.61), (85.48, 0.57), (89.92, 0.37), (95.83, 0.19)),
    },
    5: {
        "DenseNet161": _DENSENET_ABNORMALITY,
        "+ VA-GAN": ((88.64, 0.89), (88.59, 0.91), (80.12, 0.83), (84.18, 0.71), (88.42, 0.57), (94.31, 0.48)),
        "+ CycleGAN": ((89.35, 0.81), (89.39, 0.80), (80.47, 0.78), (84.71, 0.67), (89.75, 0.43), (95.36, 0.30)),
        "+ MUNIT": ((89.79, 0.77), (89.84, 0.75), (81.43, 0.69), (85.41, 0.61), (89.61, 0.45), (95.54, 0.26)),
        "+ DRIT": ((90.01, 0.72), (90.09, 0.70), (81.61, 0.66), (85.44, 0.59), (89.77, 0.41), (95.68, 0.21)),
        "+ DGM": ((92.08, 0.47), (92.13, 0.45), (84.85, 0.43), (88.41, 0.42), (92.02, 0.25), (96.78, 0.10)),
    },
    6: {
        "DenseNet161": ((82.15, 0.59), (82.23, 0.52), (71.60, 0.85), (76.52, 0.78), (85.04, 0.48), (90.98, 0.25)),
        "+ VA-GAN": ((81.59, 0.71), (81.61, 0.69), (70.76, 0.97), (75.79, 0.94), (84.18, 0.60), (90.00, 0.34)),
        "+ CycleGAN": ((81.87, 0.67), (81.92, 0.66), (71.18, 0.92), (76.15, 0.90), (84.52, 0.57), (90.38, 0.32)),
        "+ MUNIT": ((81.92, 0.68), (81.96, 0.65), (71.24, 0.90), (76.35, 0.89), (84.86, 0.53), (90.65, 0.28)),
        "+ DRIT": ((82.00, 0.63), (82.05, 0.58), (71.36, 0.88), (76.41, 0.82), (84.93, 0.52), (90.74, 0.27)),
        "+ DGM": ((84.70, 0.49), (84.70, 0.50), (75.13, 0.69), (79.63, 0.61), (86.11, 0.39), (91.97, 0.19)),
    },
    7: {
        "RetinaNet": ((19.09, 0.24), (41.42, 0.19), (14.22, 0.28), (12.76, 0.33), (10.72, 0.32)),
        "+ VA-GAN": ((18.68, 0.30), (41.18, 0.21), (13.17, 0.34), (12.39, 0.39), (10.48, 0.36)),
        "+ CycleGAN": ((18.95, 0.28), (41.61, 0.18), (13.96, 0.30), (12.59, 0.37), (10.61, 0.35)),
        "+ MUNIT": ((19.34, 0.21), (41.91, 0.16), (14.78, 0.26), (12.95, 0.30), (10.89, 0.31)),
        "+ DRIT": ((19.81, 0.19), (42.03, 0.15), (15.48, 0.23), (13.44, 0.27), (11.21, 0.29)),
        "+ DGM": ((23.95, 0.15), (44.65, 0.11), (24.25, 0.14), (16.64, 0.21), (12.54, 0.25)),
    },
}
"""Table -> row -> (mean, standard deviation) in the order of its columns, ``CLASSIFICATION`` or ``DETECTION``."""

PAPER_SIZES: Mapping[str, float] = {
    "AlexNet": 57.0, "VGGNet19": 139.6, "ResNet152": 58.1, "DenseNet161": 26.5, "DenseNet161*": 26.5, "DGM": 7.5
}  # fmt: skip
"""Table 4's sizes, printed as MB, which are millions of parameters."""


def may_stand_beside(dataset_info: DatasetInfo, tested_on: list[str]) -> bool:
    """Whether the paper's figures may be printed: the data are the RSNA challenge, and every job says so itself.

    Args:
        material: of the run.
        tested_on: descriptions of the test images, from the jobs' own files.
    """
    return dataset_info.is_rsna and all(words.startswith(RSNA_DESCRIPTION) for words in tested_on)


def paper_value(table: int, row: str, figure: str) -> tuple[float, float] | None:
    """Mean and standard deviation in percent; None for what the paper does not have."""
    names = DETECTION if table == 7 else CLASSIFICATION
    printed = PAPER_FIGURES[table].get(row)
    return None if printed is None or figure not in names else printed[names.index(figure)]
