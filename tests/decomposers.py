"""Untrained decomposers on disk, as small as they come, for tests of what looks at residues."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from monai_dgm.engines.weights import save_weights
from monai_dgm.networks.decomposer import Decomposer

__all__ = ["write_decomposer"]


def write_decomposer(folder: Path, seed: int = 0, **settings: Any) -> Path:
    """Weights ``folder/model.pt`` for images of 32 pixels, settings beside them; ``settings`` change these."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    save_weights(Decomposer(base_width=2, num_res_blocks=1).state_dict(), folder / "model.pt")
    known = {"image_size": 32, "base_width": 2, "num_res_blocks": 1, **settings}
    (folder / "model.json").write_text(json.dumps(known))
    return folder / "model.pt"
