"""A study tells nothing of where its images come from, and its key tells all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from monai_dgm.errors import InputError
from monai_dgm.reader_study.making import make_study
from monai_dgm.reader_study.study import load_key, load_served
from tests.reader_study.conftest import write_images

SYSTEMS = ("real", "dgm", "vagan")


def test_every_two_systems_are_compared_on_every_image(new_study: Callable[..., Path]) -> None:
    key = load_key(new_study(SYSTEMS, 10))
    first = [one for one in key.trials.values() if not one.repeats]
    pairs = Counter((one.image, frozenset((one.left, one.right))) for one in first)
    assert len(pairs) == 30 and set(pairs.values()) == {1}
    assert {one.left for one in first} == set(SYSTEMS) == {one.right for one in first}


def test_catch_trials_show_the_same_files_with_sides_swapped_after_the_first_time(
    new_study: Callable[..., Path],
) -> None:
    study = new_study(SYSTEMS, 10, num_catch=6)
    key, served = load_key(study), load_served(study)
    files = {one["trial"]: one for block in served.blocks for one in block}
    catch = {name: one.repeats for name, one in key.trials.items() if one.repeats}
    assert len(catch) == 6 == len(set(catch.values()))

    def content(trial: str, side: str) -> bytes:
        return (served.images / f"{files[trial][side]}.png").read_bytes()

    for name, repeated in catch.items():
        assert content(name, "left") == content(repeated, "right") != content(name, "right")
        assert content(name, "right") == content(repeated, "left")
        for reader in ("a", "b"):
            order = [one["trial"] for one in served.order(reader)]
            assert order.index(name) > order.index(repeated)


def test_files_are_alike_in_all_but_pixels(new_study: Callable[..., Path]) -> None:
    study = new_study(SYSTEMS, 10)
    paths = list((study / "served" / "images").iterdir())
    assert len(paths) == 2 * 33
    assert len({path.stat().st_size for path in paths}) == 1 == len({path.stat().st_mtime for path in paths})
    for path in paths:
        with Image.open(path) as image:
            assert image.size == (64, 64) and image.mode == "L" and not image.info
    text = (study / "served" / "study.json").read_text(encoding="utf-8")
    content = json.loads(text)
    assert content.keys() == {"format", "study", "question", "blocks"}
    assert all(one.keys() == {"trial", "left", "right"} for block in content["blocks"] for one in block)
    assert not any(name in json.dumps(content["blocks"]) for name in SYSTEMS)


def test_the_seed_gives_sides_and_images_and_names_are_new_each_time(tmp_path: Path) -> None:
    folders = {name: write_images(tmp_path / name, 12, level) for name, level in (("a", 60), ("b", 180))}
    keys = []
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        make_study(tmp_path / name, folders, num_images=8, seed=seed, size=64)
        keys.append(load_key(tmp_path / name))
    sides = [[(one.image, one.left, one.right) for one in key.trials.values()] for key in keys]
    assert sides[0] == sides[1] != sides[2]
    assert keys[0].trials.keys().isdisjoint(keys[1].trials)


def test_readers_have_orders_of_their_own_that_stay(new_study: Callable[..., Path]) -> None:
    served = load_served(new_study(("a", "b"), 20))
    assert served.order("anna") == served.order("anna") != served.order("ben")


def test_decompositions_are_read_and_colour_makes_all_images_of_colour(tmp_path: Path) -> None:
    grey = write_images(tmp_path / "grey", 2, 90)
    for i in range(2):
        (tmp_path / "maps" / str(i)).mkdir(parents=True)
        Image.new("RGB", (48, 48), (200, 10 * i, 0)).save(tmp_path / "maps" / str(i) / "normal.png")
    assert make_study(tmp_path / "study", {"grey": grey, "maps": tmp_path / "maps"}, size=32) == 3
    paths = list((tmp_path / "study" / "served" / "images").iterdir())
    assert {Image.open(path).mode for path in paths} == {"RGB"} and len({path.stat().st_size for path in paths}) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"systems": ["a"]}, "two or more systems"),
        ({"systems": ["a", "other"]}, "same names"),
        ({"systems": ["a", "wide"]}, "aspect ratio"),
        ({"systems": ["a", "deep"]}, "8 bits"),
        ({"systems": ["a", "broken"]}, "cannot be read"),
        ({"systems": ["a", "clear"]}, "opaque"),
        ({"systems": ["a", "missing"]}, "there is none"),
        ({"num_images": 9}, "1 to 3 images"),
        ({"num_catch": 3}, "0 to 2 catch trials"),
        ({"size": 4}, "between 16 and 4096"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_compared_is_refused_and_leaves_nothing(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    write_images(tmp_path / "a", 3, 60)
    write_images(tmp_path / "b", 3, 90)
    write_images(tmp_path / "wide", 3, 60, (96, 48))
    (tmp_path / "other").mkdir()
    Image.new("L", (48, 48)).save(tmp_path / "other" / "other.png")
    for name, mode in (("deep", "I;16"), ("clear", "RGBA")):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.new(mode, (48, 48)).save(tmp_path / name / f"{i}.png")
    (tmp_path / "broken").mkdir()
    for i in range(3):
        (tmp_path / "broken" / f"{i}.png").write_bytes(b"no image")
    names = change.pop("systems", ["a", "b"])
    systems = {str(name): tmp_path / str(name) for name in names}  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=words):
        make_study(tmp_path / "out" / "study", systems, **change)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_study_is_never_replaced(new_study: Callable[..., Path], tmp_path: Path) -> None:
    study = new_study(("a", "b"), 4)
    before = json.loads((study / "key.json").read_text(encoding="utf-8"))
    with pytest.raises(InputError, match="never replaced"):
        make_study(study, {"a": tmp_path / "a", "b": tmp_path / "b"})
    assert json.loads((study / "key.json").read_text(encoding="utf-8")) == before


def test_images_of_other_radiographs_are_paired_when_asked(tmp_path: Path) -> None:
    write_images(tmp_path / "a", 3, 60)
    (tmp_path / "b").mkdir()
    for i in range(5):
        Image.new("L", (48, 48), 40 * i).save(tmp_path / "b" / f"other{i}.png")
    make_study(tmp_path / "study", {"a": tmp_path / "a", "b": tmp_path / "b"}, any_image=True, num_catch=0)
    key = load_key(tmp_path / "study")
    assert len(key.trials) == 3 and all("other" in one.image and " | " in one.image for one in key.trials.values())
