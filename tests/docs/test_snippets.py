"""What README and docs tell a reader to type: Python runs, commands name files, options and targets that exist."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import shlex
from pathlib import Path

import monai.bundle
import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("bundles/*/docs/*.md")]
)
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]


def blocks(path: Path) -> list[str]:
    """Code of a document: fenced, or indented by four spaces after an empty line."""
    text = path.read_text(encoding="utf-8")
    fenced = re.findall(r"(?ms)^```(?:python|bash)?\n(.*?)^```", text)
    text = re.sub(r"(?ms)^```.*?^```", "", text)
    indented = re.findall(r"(?:^|\n)\n((?:    [^\n]*\n(?:\n(?=    ))?)+)", text)
    return [*fenced, *(re.sub(r"(?m)^    ", "", block) for block in indented)]


def commands(path: Path) -> list[list[str]]:
    """Shell commands of a document, continuation lines joined, comments left out."""
    found = []
    for block in blocks(path):
        for line in block.replace("\\\n", " ").splitlines():
            if re.match(r"\s*(?:[A-Z_]+=\S+ +)*(?:time )?(?:python|make|pip)\b", line) or "python -m monai" in line:
                text = re.sub(r"^.*?(?=\b(?:python|make|pip) )", "", line)
                try:
                    found.append(shlex.split(text, comments=True))
                except ValueError:
                    found.append(text.split())
    return found


def is_python(block: str) -> bool:
    return re.match(r"(import|from) \w", block) is not None


BY_NAME = dict(zip(NAMES, DOCUMENTS, strict=True))
PYTHON = [(name, block) for name, path in BY_NAME.items() for block in blocks(path) if is_python(block)]


@pytest.mark.parametrize(("name", "block"), PYTHON, ids=[f"{name}-{i}" for i, (name, _) in enumerate(PYTHON)])
def test_python_runs(name: str, block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    exec(compile(block, name, "exec"), {"__name__": "__main__"})


def test_there_are_snippets_of_both_kinds() -> None:
    assert len(PYTHON) >= 3
    assert sum(len(commands(path)) for path in DOCUMENTS) >= 40


def config_of(arguments: list[str], name: str) -> dict[str, object]:
    """The configuration that a bundle command names, overlays merged at their top level."""
    where = arguments.index("--config_file")
    text = arguments[where + 1]
    files = re.findall(r"[\w./-]+\.json", text)
    assert files, f"{name}: {text}"
    merged: dict[str, object] = {}
    for file in files:
        assert (ROOT / file).is_file(), f"{name}: there is no {file}"
        merged |= json.loads((ROOT / file).read_text(encoding="utf-8"))
    return merged


@pytest.mark.parametrize(("name", "path"), list(BY_NAME.items()), ids=NAMES)
def test_bundle_commands_name_files_and_keys_that_exist(name: str, path: Path) -> None:
    for arguments in commands(path):
        if "monai.bundle" not in arguments or "--config_file" not in arguments:
            continue
        config = config_of(arguments, name)
        if "run" not in arguments:  # ckpt_export and the like have options of their own
            continue
        for option in arguments:
            key = option[2:].split("#")[0]
            if option.startswith("--") and key not in inspect.signature(monai.bundle.run).parameters:
                assert key in config, f"{name}: {shlex.join(arguments)}: the configuration has no {key}"
        action = arguments[arguments.index("run") + 1]
        if action.startswith("--"):
            action = "run"
        assert action in config, f"{name}: the configuration has no {action}"


@pytest.mark.parametrize(("name", "path"), list(BY_NAME.items()), ids=NAMES)
def test_modules_scripts_and_targets_exist(name: str, path: Path) -> None:
    targets = set(re.findall(r"(?m)^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    for arguments in commands(path):
        where = f"{name}: {shlex.join(arguments)}"
        if arguments[0] == "make":
            named = [word for word in arguments[1:] if re.fullmatch(r"[a-z][\w-]*", word)]
            assert set(named) <= targets, where
        elif "-m" in arguments[:2]:
            assert importlib.util.find_spec(arguments[2]) is not None, where
        elif arguments[0] == "python" and len(arguments) > 1 and arguments[1].endswith(".py"):
            script = ROOT / arguments[1]
            assert script.is_file(), where
            text = script.read_text(encoding="utf-8")
            for option in arguments[2:]:
                if option.startswith("--"):
                    assert option.split("=")[0].strip("-") in text, f"{where}: {option}"


@pytest.mark.parametrize(("name", "path"), list(BY_NAME.items()), ids=NAMES)
def test_links_between_documents_lead_somewhere(name: str, path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (path.parent / target).exists(), f"{name}: {target}"
