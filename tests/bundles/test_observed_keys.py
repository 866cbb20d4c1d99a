"""Every key of every shipped configuration is read by something, so that overriding it has an effect."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from monai_dgm.engines.setup import select_defaults
from tests.bundles.observed_keys import leaves, read_configs, unobserved

REPOSITORY = Path(__file__).resolve().parents[2]
# overlay -> files that it is laid over, after train.json
UNDER = {"head": ("evaluate",), "labels": ("boxes",)}
NOT_CONFIGURATIONS = ("metadata", "sample")
FILES = sorted(path for path in REPOSITORY.glob("bundles/*/configs/*.json") if path.stem not in NOT_CONFIGURATIONS)
NAMES = [f"{path.parts[-3]}/{path.stem}" for path in FILES]


def merged(path: Path) -> dict[str, Any]:
    """A configuration with the files that it is laid over."""
    below = [] if path.stem in ("train", "inference") else ["train", *UNDER.get(path.stem, ())]
    return read_configs(*(path.with_stem(name) for name in below), path)


def ignores_an_argument(used: int, ignored: int) -> int:
    """The target of a component with an argument that has no effect."""
    return used


def own_keys(path: Path) -> list[str]:
    """Ids of a file's keys in the merged configuration."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return [key for key, _ in leaves(content) if not key.startswith("+")]


def test_every_bundle_is_looked_at() -> None:
    assert len(FILES) >= 16 and {path.parts[-3] for path in FILES} == {
        p.name for p in (REPOSITORY / "bundles").iterdir()
    }


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_every_key_is_read(path: Path) -> None:
    config = merged(path)
    if path.stem in ("train", "inference"):
        assert unobserved(config) == []
    assert unobserved(config, own_keys(path)) == []


@pytest.mark.parametrize("path", FILES, ids=NAMES)
@pytest.mark.parametrize("dead", ["dead_key", "dead_block", "dead_argument", "dead_import"])
def test_a_key_that_nothing_reads_is_found(path: Path, dead: str) -> None:
    config = copy.deepcopy(merged(path))
    if dead == "dead_key":
        config["dead_key"] = "@device"
        assert unobserved(config, ["dead_key"]) == ["dead_key"]
    elif dead == "dead_block":
        config.setdefault("train", {})["dead_block"] = {"_target_": "SimpleInferer"}
        assert unobserved(config, ["train#dead_block"]) == ["train#dead_block"]
    elif dead == "dead_argument":
        config["initialize"].append("$@dead_argument")
        config["dead_argument"] = {"_target_": f"{__name__}.ignores_an_argument", "used": 1, "ignored": 2}
        assert unobserved(config, ["dead_argument#used", "dead_argument#ignored"]) == ["dead_argument#ignored"]
    else:
        config["imports"].append("$import collections as never_used")
        assert unobserved(config, [f"imports#{len(config['imports']) - 1}"])


@pytest.mark.parametrize("path", [path for path in FILES if path.stem == "train"], ids=lambda path: path.parts[-3])
def test_settings_for_the_sample_are_read(path: Path) -> None:
    config = read_configs(path)
    defaults = config["defaults"]["real_data"]
    sample = json.loads(path.with_stem("sample").read_text(encoding="utf-8"))
    assert set(sample) == set(defaults), "each default has a value for the sample, and nothing else has"
    selected = select_defaults(None, path.with_stem("sample"), defaults)
    assert selected == sample and select_defaults("folder", path.with_stem("sample"), defaults) == defaults
    defaults["dead_setting"] = 1
    assert unobserved(config, ["defaults#real_data#dead_setting"]) == ["defaults#real_data#dead_setting"]


@pytest.mark.parametrize("path", [path for path in FILES if path.stem == "train"], ids=lambda path: path.parts[-3])
def test_what_is_trained_on_is_decided_in_one_place(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if " if " in line]
    assert all("torch.cuda.is_available()" in line for line in lines), lines
    assert "monai.utils.first" not in path.read_text(encoding="utf-8")
