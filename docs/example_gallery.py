"""Paste the overlays of the 24 packaged NIH radiographs into one picture, the first of README.md.

    python -m monai.bundle run run --config_file bundles/dgm/configs/inference.json \
        --dataset_dir monai_dgm/data/examples/images --output_dir OUT
    python docs/example_gallery.py OUT docs/images/examples.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

COLUMNS = 8
TILE_WIDTH = 188


def gallery(overlays: list[Path]) -> Image.Image:
    """One RGB picture of the overlays, eight in a row, in the order given; all are scaled to one width.

    Raises:
        ValueError: if there is no overlay.
    """
    if not overlays:
        raise ValueError("expected a folder of results with FOLDER/overlay.png, found none")
    tiles = []
    for path in overlays:
        with Image.open(path) as image:
            height = round(image.height * TILE_WIDTH / image.width)
            tiles.append(image.convert("RGB").resize((TILE_WIDTH, height), Image.Resampling.LANCZOS))
    height = max(tile.height for tile in tiles)
    rows = -(-len(tiles) // COLUMNS)
    picture = Image.new("RGB", (COLUMNS * TILE_WIDTH, rows * height))
    for index, tile in enumerate(tiles):
        picture.paste(tile, (index % COLUMNS * TILE_WIDTH, index // COLUMNS * height))
    return picture


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("results", type=Path, help="output folder of the decomposition")
    parser.add_argument("picture", type=Path, help="JPEG file to write")
    arguments = parser.parse_args()
    gallery(sorted(arguments.results.glob("*/overlay.png"))).save(arguments.picture, quality=85)


if __name__ == "__main__":
    main()
