"""From folders of images to a study: trials in random order, what is served, and the key."""

from __future__ import annotations

import itertools
import math
import os
import random
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from monai_dgm.errors import InputError
from monai_dgm.reader_study.pictures import encode, list_images, read_image, same_aspect
from monai_dgm.reader_study.study import FORMAT, KEY, SERVED
from monai_dgm.utils.atomic import write_json

QUESTION = "Which image looks more like a real radiograph?"


@dataclass(frozen=True)
class Trial:
    """Two images to choose from.

    Attributes:
        trial: random name.
        image: name of the radiograph that both show; "left | right" where each shows another one.
        systems: of the left and the right image.
        paths: files of the left and the right image.
        repeats: trial that this catch trial repeats with sides swapped; "" for none.
    """

    trial: str
    image: str
    systems: tuple[str, str]
    paths: tuple[Path, Path]
    repeats: str = ""


def make_study(
    output_dir: Path,
    systems: Mapping[str, Path],
    num_images: int | None = None,
    num_catch: int | None = None,
    size: int = 256,
    seed: int | None = None,
    any_image: bool = False,
    question: str = QUESTION,
) -> int:
    """Write a study: ``served/`` (images with random names, order of trials) and ``key.json`` (which image is whose).

    Every two systems are compared on each radiograph, as in the paper. The folder appears when it is complete.

    Args:
        output_dir: must not exist, so that no study that readers have begun is replaced.
        systems: folder of the images of each system; "real" is a system like the others.
        num_images: radiographs for each two systems; None takes all.
        num_catch: trials that come a second time, sides swapped; None takes a tenth.
        size: side in pixels of all images.
        seed: of radiographs, sides and order; None draws one. Names are random in any case.
        any_image: pair images of different radiographs, for systems that share none.
        question: that readers answer.

    Returns:
        Number of trials.

    Raises:
        InputError: fewer than two systems, images that cannot be paired, or numbers out of range.
    """
    if len(systems) < 2:
        raise InputError(f"expected two or more systems to compare, got {len(systems)}")
    if not 16 <= size <= 4096:
        raise InputError(f"expected a size between 16 and 4096 pixels, got {size}")
    if output_dir.exists():
        raise InputError(f"{output_dir}: expected a folder that does not exist, for a study is never replaced")
    number = secrets.randbits(32) if seed is None else seed
    draw = random.Random(number)
    trials = _pair(systems, num_images, any_image, draw)
    draw.shuffle(trials)
    half = math.ceil(len(trials) / 2)
    blocks = [trials[:half], trials[half:]]
    blocks[1] = _with_catch_trials(blocks[0], blocks[1], num_catch, draw)
    if not blocks[1]:
        del blocks[1]
    head = {"format": FORMAT, "study": secrets.token_hex(8)}
    key = head | {"seed": number, "size": size, "question": question, "systems": list(systems)}
    with _folder_aside(output_dir) as folder:
        order = _write_images(folder / SERVED / "images", blocks, size)
        write_json(folder / SERVED / "study.json", head | {"question": question, "blocks": order})
        shown = [one for block in blocks for one in block]
        write_json(folder / KEY, key | {"trials": {one.trial: _key_entry(one) for one in shown}})
    return len(shown)


def _pair(systems: Mapping[str, Path], num_images: int | None, any_image: bool, draw: random.Random) -> list[Trial]:
    images = {system: list_images(folder) for system, folder in systems.items()}
    trials = []
    for first, second in itertools.combinations(systems, 2):
        if any_image:
            names = [draw.sample(sorted(images[system]), len(images[system])) for system in (first, second)]
            pairs = list(zip(*names, strict=False))
        else:
            both = sorted(images[first].keys() & images[second].keys())
            pairs = [(name, name) for name in draw.sample(both, len(both))]
        if not pairs:
            raise InputError(f"{first} and {second}: expected images of the same names, got none (see --any_image)")
        wanted = len(pairs) if num_images is None else num_images
        if not 1 <= wanted <= len(pairs):
            raise InputError(f"{first} and {second}: expected 1 to {len(pairs)} images to compare, got {wanted}")
        for one, other in pairs[:wanted]:
            sides = [(first, images[first][one], one), (second, images[second][other], other)]
            draw.shuffle(sides)
            (left, left_path, left_name), (right, right_path, right_name) = sides
            name = left_name if left_name == right_name else f"{left_name} | {right_name}"
            trials.append(Trial(secrets.token_hex(8), name, (left, right), (left_path, right_path)))
    return trials


def _with_catch_trials(
    earlier: list[Trial], later: list[Trial], num_catch: int | None, draw: random.Random
) -> list[Trial]:
    """The later trials, and among them repetitions of earlier ones."""
    wanted = math.ceil((len(earlier) + len(later)) / 10) if num_catch is None else num_catch
    if not 0 <= wanted <= len(earlier):
        raise InputError(f"expected 0 to {len(earlier)} catch trials, half of the pairs at most; got {wanted}")
    repeated = [
        replace(one, trial=secrets.token_hex(8), systems=one.systems[::-1], paths=one.paths[::-1], repeats=one.trial)
        for one in draw.sample(earlier, wanted)
    ]
    mixed = later + repeated
    draw.shuffle(mixed)
    return mixed


def _write_images(folder: Path, blocks: list[list[Trial]], size: int) -> list[list[dict[str, str]]]:
    """Every place of every trial gets a file of its own, so that a name is never seen twice."""
    folder.mkdir(parents=True)
    read = {path: read_image(path) for block in blocks for one in block for path in one.paths}
    mode = "RGB" if any(image.mode == "RGB" for image in read.values()) else "L"
    order: list[list[dict[str, str]]] = []
    lengths = set()
    for block in blocks:
        order.append([])
        for one in block:
            if not same_aspect(*(read[path] for path in one.paths)):
                widths = " and ".join("{} x {}".format(*read[path].size) for path in one.paths)
                raise InputError(f"{one.image}: expected two images of one aspect ratio, got {widths} pixels")
            names = (secrets.token_hex(16), secrets.token_hex(16))
            for path, name in zip(one.paths, names, strict=True):
                content = encode(read[path], size, mode)
                lengths.add(len(content))
                (folder / f"{name}.png").write_bytes(content)
                os.utime(folder / f"{name}.png", (0, 0))
            order[-1].append({"trial": one.trial, "left": names[0], "right": names[1]})
    if len(lengths) != 1:
        raise RuntimeError(f"images of one size have files of {len(lengths)} lengths, which would tell them apart")
    return order


def _key_entry(trial: Trial) -> dict[str, Any]:
    left, right = trial.systems
    return {"image": trial.image, "left": left, "right": right, "repeats": trial.repeats or None}


@contextmanager
def _folder_aside(target: Path) -> Iterator[Path]:
    """A folder that gets the target's name when the block succeeds, and goes when it does not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".partial-{secrets.token_hex(8)}")
    aside.mkdir()
    try:
        yield aside
        os.rename(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
