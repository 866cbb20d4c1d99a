"""Which systems take part, and what is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_dgm.benchmark.systems import find_systems
from monai_dgm.errors import InputError


def test_systems_whose_files_are_there_take_part(repository: Path) -> None:
    names = [system.name for system in find_systems(repository / "bundles")]
    assert names[:3] == ["dgm_paper", "dgm_labels", "dgm_boxes"] and names[-1] == "shipped"
    assert {"vagan", "cyclegan", "munit", "drit", "aeu", "ddad"} <= set(names)


def test_a_system_without_its_configuration_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "dgm" / "configs").mkdir(parents=True)
    (tmp_path / "dgm" / "configs" / "paper.json").write_text("{}")
    assert [system.name for system in find_systems(tmp_path)] == ["dgm_paper"]
    with pytest.raises(InputError, match="expected the files of vagan"):
        find_systems(tmp_path, ["vagan"])


def test_others_join_by_a_configuration_or_by_weights(repository: Path, tmp_path: Path) -> None:
    overlay, weights = tmp_path / "mine.json", tmp_path / "model.pt"
    overlay.write_text(json.dumps({}))
    weights.write_bytes(b"")
    found = find_systems(repository / "bundles", ["mine", "judged"], [f"mine={overlay}", f"judged={weights}"])
    assert [(system.name, system.overlays, system.weights) for system in found] == [
        ("mine", (str(overlay),), None),
        ("judged", (), weights),
    ]


@pytest.mark.parametrize(
    ("asked", "added", "words"),
    [
        (["dgm_papper"], [], "expected some of dgm_paper"),
        (None, ["mine"], "expected NAME=FILE"),
        (None, ["mine=model.zip"], "expected NAME=FILE"),
        (None, ["mine=nowhere.json"], "there is no nowhere.json"),
        (None, ["vagan=FILE"], "taken"),
    ],
)
def test_what_is_refused(
    asked: list[str] | None, added: list[str], words: str, repository: Path, tmp_path: Path
) -> None:
    file = tmp_path / "x.json"
    file.write_text("{}")
    with pytest.raises(InputError, match=words):
        find_systems(repository / "bundles", asked, [text.replace("FILE", str(file)) for text in added])
