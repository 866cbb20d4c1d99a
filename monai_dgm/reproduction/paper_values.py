"""What the paper prints in its Tables 4 to 7, in percent: mean and standard deviation over its five splits.

Tang et al., Medical Image Analysis 67, 101839, 2021; quoted as printed in ``paper_values.json``, also where a row
contradicts itself (``docs/fidelity.md``). All values are of the RSNA challenge, and are shown beside metrics of these
data only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from monai_dgm.jobs.dataset_info import RSNA_DESCRIPTION, DatasetInfo

__all__ = ["PAPER_SIZES", "PAPER_VALUES", "may_show_paper", "paper_value"]

_PRINTED = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))

PAPER_VALUES: Mapping[int, Mapping[str, Mapping[str, tuple[float, float]]]] = {
    int(table): {row: {name: (mean, sd) for name, (mean, sd) in values.items()} for row, values in rows.items()}
    for table, rows in _PRINTED["tables"].items()
}
"""Table -> row -> metric -> (mean, standard deviation)."""

PAPER_SIZES: Mapping[str, float] = _PRINTED["millions_of_parameters"]
"""Table 4's sizes, printed as MB, which are millions of parameters."""


def may_show_paper(dataset_info: DatasetInfo, tested_on: list[str]) -> bool:
    """Whether the paper's values may be shown: the data are the RSNA challenge, and the files of all jobs say so.

    Args:
        dataset_info: the data of the run.
        tested_on: descriptions of the test images, from the jobs' own files.
    """
    return dataset_info.is_rsna and all(words.startswith(RSNA_DESCRIPTION) for words in tested_on)


def paper_value(table: int, row: str, metric: str) -> tuple[float, float] | None:
    """Mean and standard deviation in percent; None for what the paper does not print."""
    return PAPER_VALUES[table].get(row, {}).get(metric)
