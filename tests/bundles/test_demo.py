"""The two commands of `make demo`, as they stand in the Makefile, on the radiographs of the package."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.bundles.conftest import BundleCommands


@pytest.fixture(scope="module")
def recipe(repository: Path) -> str:
    """Lines of the Makefile's rule, with its variables in place; results in DEMO."""
    text = (repository / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    rule = re.search(r"^demo:.*\n((?:\t.*\n)+)", text, re.MULTILINE)
    examples = re.search(r"^EXAMPLES := (\S+)$", text, re.MULTILINE)
    assert rule and examples
    return rule[1].replace("$(EXAMPLES)", examples[1]).replace("$(DEMO)", "DEMO")


def test_the_commands_of_make_demo(bundle: BundleCommands, recipe: str, tmp_path: Path) -> None:
    commands = [
        shlex.split(line.split("-m monai.bundle")[1].replace("DEMO", str(tmp_path)))
        for line in recipe.splitlines()
        if "-m monai.bundle" in line
    ]
    assert len(commands) == 2
    commands[1] += ["--test#metrics#num_bootstrap", "3"]  # less to compute
    for command in commands:
        (finished,) = bundle(*command)
        assert finished.returncode == 0, finished.stderr
    scores = json.loads((tmp_path / "decomposition" / "scores.json").read_text(encoding="utf-8"))
    assert len(scores["images"]) == 24 and not scores["failed"]
    metrics = json.loads((tmp_path / "evaluation" / "report" / "metrics.json").read_text(encoding="utf-8"))
    assert "head_auc" in json.dumps(metrics)
    named = re.findall(r"DEMO(/\S+)", " ".join(line for line in recipe.splitlines() if line.startswith("\t@echo")))
    assert len(named) == 3
    for name in named:
        assert list(tmp_path.glob(name[1:])), name
