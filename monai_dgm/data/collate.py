"""Batches of prepared radiographs for engines that are driven with MONAI's own data set and loader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

__all__ = ["collate_radiographs"]


def collate_radiographs(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Stack the tensors of items, and list what is no tensor (names, geometries), which torch's own cannot collate.

    Args:
        items: dicts with the same keys, such as :class:`monai_dgm.transforms.load_radiograph.LoadRadiographd` returns.

    Returns:
        for each key a tensor (B, ...), or a list of B.
    """
    columns = {key: [item[key] for item in items] for key in items[0]}
    return {
        key: torch.stack(values) if isinstance(values[0], torch.Tensor) else values for key, values in columns.items()
    }
