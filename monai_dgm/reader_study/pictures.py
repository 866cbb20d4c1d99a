"""The images of a study, written so that size, compression and metadata say nothing about where they come from."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from monai_dgm.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg")
DECOMPOSED = "normal.png"
"""Of each radiograph's folder as the decomposition bundle writes them."""
_SAME_ASPECT = 0.02  # relative difference of two aspect ratios that counts as rounding


def list_images(folder: Path) -> dict[str, Path]:
    """Images of a system by name, sorted: files without their suffix, or folders that hold a ``normal.png``.

    Raises:
        InputError: no folder, no image in it, or two images of one name.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of images, there is none")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        image = path / DECOMPOSED if path.is_dir() else path
        if path.name.startswith(".") or image.suffix.lower() not in SUFFIXES or not image.is_file():
            continue
        name = path.name if path.is_dir() else path.stem
        if name in found:
            raise InputError(f"{folder}: expected one image of each name, got two of {name}")
        found[name] = image
    if not found:
        raise InputError(f"{folder}: expected PNG or JPEG files, or folders with a {DECOMPOSED}; got none")
    return found


def read_image(path: Path) -> Image.Image:
    """An image of 8 bits: mode "L", or "RGB" where it has colours. Nothing but the pixels is kept.

    Raises:
        InputError: it cannot be read, has more than 8 bits, or is transparent in part.
    """
    try:
        with Image.open(path) as opened:
            opened.load()
            image = opened.copy()
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: expected a PNG or JPEG image, it cannot be read ({type(error).__name__})") from error
    if image.mode not in ("1", "L", "P", "RGB", "RGBA", "LA"):
        raise InputError(f"{path}: expected 8 bits a channel, got Pillow's mode {image.mode}")
    if image.has_transparency_data and image.convert("RGBA").getextrema()[3] != (255, 255):
        raise InputError(f"{path}: expected an opaque image, got one that is transparent in part")
    if image.mode in ("1", "L"):
        return image.convert("L")
    colour = image.convert("RGB")
    red, green, blue = (channel.tobytes() for channel in colour.split())
    return colour.getchannel(0) if red == green == blue else colour


def same_aspect(first: Image.Image, second: Image.Image) -> bool:
    """Whether width to height are alike; else black bars at the sides would tell one image from the other."""
    ratio = first.width / first.height / (second.width / second.height)
    return abs(ratio - 1) <= _SAME_ASPECT


def encode(image: Image.Image, size: int, mode: str) -> bytes:
    """A square PNG without metadata, whose length depends on ``size`` and ``mode`` only: its pixels are not compressed.

    Args:
        image: from :func:`read_image`.
        size: side in pixels. An image that is not square is centred on black.
        mode: "L" or "RGB".
    """
    scale = size / max(image.size)
    fitted = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    square = Image.new(mode, (size, size))
    scaled = image.convert(mode).resize(fitted, Image.Resampling.LANCZOS)
    square.paste(scaled, ((size - fitted[0]) // 2, (size - fitted[1]) // 2))
    stream = io.BytesIO()
    square.save(stream, "PNG", compress_level=0)
    return stream.getvalue()
