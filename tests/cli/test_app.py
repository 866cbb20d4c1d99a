"""The program as a whole: its subcommands, its statuses, and what it does not import."""

from __future__ import annotations

import ast
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import monai_dgm
from monai_dgm.cli import commands
from monai_dgm.data import example_radiographs

ROOT = Path(__file__).resolve().parents[2]
CLI = sorted((ROOT / "monai_dgm" / "cli").rglob("*.py"))
# what a subcommand may import at the top of its file: everything else waits until it runs
LIGHT = {"__future__", "monai_dgm", "typer", *sys.stdlib_module_names}
# of `monai-dgm decompose`, beside its own: torch, numpy, scipy.ndimage, Pillow
NOT_IMPORTED = {
    "fastapi",
    "ignite",
    "matplotlib",
    "mlflow",
    "pandas",
    "rich",
    "scipy.optimize",
    "scipy.signal",
    "scipy.stats",
    "sklearn",
    "sympy",
    "tensorboard",
    "torch._dynamo",
    "torch.distributed.fsdp",
    "torchvision",
}


def fresh_process(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python code in a new process."""
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("path", CLI, ids=lambda path: path.stem)
def test_a_subcommand_imports_what_it_needs_when_it_runs(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [str(node.module)] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert {name.split(".")[0] for name in names} <= LIGHT, f"{path.name}:{node.lineno}"


def test_the_program_starts_without_torch() -> None:
    script = "import sys; from monai_dgm.cli.app import make_app; make_app(); print(json.dumps(sorted(sys.modules)))"
    finished = fresh_process(f"import json; {script}")
    loaded = set(json.loads(finished.stdout))
    assert loaded.isdisjoint({"torch", "numpy", "monai", "rich", *NOT_IMPORTED})


def test_decompose_does_not_import_what_it_does_not_use(tmp_path: Path) -> None:
    script = """
import json, sys
from monai_dgm.cli.app import main
try:
    main(["decompose", sys.argv[1], "--output", sys.argv[2]])
except SystemExit as ended:
    assert not ended.code
print(json.dumps(sorted(sys.modules)))
"""
    image = sorted((example_radiographs() / "images").iterdir())[0]
    finished = fresh_process(script, image, tmp_path)
    assert finished.returncode == 0, finished.stderr
    loaded = set(json.loads(finished.stdout.splitlines()[-1]))
    assert {"torch", "monai.networks"} <= loaded
    assert not NOT_IMPORTED & loaded


def test_every_subcommand_is_shown_and_has_help(command: Callable) -> None:
    shown = command("--help")
    assert shown.status == 0
    for module in pkgutil.iter_modules(commands.__path__):
        name = module.name.replace("_", "-")
        assert name in shown.stdout
        own = command(name, "--help")
        assert own.status == 0 and "--help" in own.stdout


def test_version(command: Callable) -> None:
    assert command("--version").stdout == f"monai-dgm {monai_dgm.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("decompose",), "FILE_OR_FOLDER"),
        (("decompose", "chest.png", "--nonsense"), "--nonsense"),
        (("nonsense",), "nonsense"),
        (("decompose", "nowhere.png"), "nowhere.png: no such file or folder"),
        (("decompose", "nowhere.png", "--device", "abacus"), "device: expected one such as cpu"),
        (("decompose", "nowhere.png", "--bundles", "nowhere"), "bundles: expected a folder of bundles"),
    ],
)
def test_a_wrong_call_ends_with_status_2(command: Callable, arguments: tuple[str, ...], expected: str) -> None:
    finished = command(*arguments)
    assert finished.status == 2
    assert expected in finished.stderr and "Traceback" not in finished.stderr


def test_completion_knows_the_subcommands() -> None:
    environment = {"_MONAI_DGM_COMPLETE": "complete_bash", "COMP_WORDS": "monai-dgm deco", "COMP_CWORD": "1"}
    script = f"import os; os.environ.update({environment!r}); from monai_dgm.cli.app import main; main()"
    finished = fresh_process(script)
    assert finished.stdout.split() == ["decompose"], finished.stderr
