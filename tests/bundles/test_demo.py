"""The two commands of `make demo`, as they stand in the Makefile, on a part of the radiographs of the package."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from monai_dgm.data.examples import example_radiographs

if TYPE_CHECKING:
    from tests.bundles.conftest import BundleCommands


@pytest.fixture(scope="module")
def recipe(repository: Path) -> str:
    """Lines of the Makefile's rule, with its variables in place; results in DEMO."""
    text = (repository / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    rule = re.search(r"^demo:.*\n((?:\t.*\n)+)", text, re.MULTILINE)
    examples = re.search(r"^EXAMPLES := (\S+)$", text, re.MULTILINE)
    assert rule and examples
    assert (repository / examples[1]) == example_radiographs()
    return rule[1].replace("$(DEMO)", "DEMO")


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every fourth radiograph of the package, as its folder has them."""
    folder = tmp_path_factory.mktemp("examples")
    header, *rows = (example_radiographs() / "manifest.csv").read_text(encoding="utf-8").splitlines()
    kept = rows[::4]
    (folder / "manifest.csv").write_text("\n".join([header, *kept]) + "\n", encoding="utf-8")
    (folder / "images").mkdir()
    for file in (example_radiographs() / "images").iterdir():
        if any(file.name in row for row in kept):
            (folder / "images" / file.name).symlink_to(file)
    return folder


def test_the_commands_of_make_demo(bundle: BundleCommands, recipe: str, examples: Path, tmp_path: Path) -> None:
    commands = [
        shlex.split(
            line.split("-m monai.bundle")[1].replace("DEMO", str(tmp_path)).replace("$(EXAMPLES)", str(examples))
        )
        for line in recipe.splitlines()
        if "-m monai.bundle" in line
    ]
    assert len(commands) == 2
    commands[1] += ["--test#metrics#num_bootstrap", "3"]  # less to compute
    for command in commands:
        (finished,) = bundle(*command)
        assert finished.returncode == 0, finished.stderr
    scores = json.loads((tmp_path / "decomposition" / "scores.json").read_text(encoding="utf-8"))
    assert len(scores["images"]) == 6 and not scores["failed"]
    metrics = json.loads((tmp_path / "evaluation" / "report" / "metrics.json").read_text(encoding="utf-8"))
    assert "head_auc" in json.dumps(metrics)
    named = re.findall(r"DEMO(/\S+)", " ".join(line for line in recipe.splitlines() if line.startswith("\t@echo")))
    assert len(named) == 3
    for name in named:
        assert list(tmp_path.glob(name[1:])), name
