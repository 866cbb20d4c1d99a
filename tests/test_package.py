"""The frame: which part may import which, what is declared, and that every module can be imported."""

from __future__ import annotations

import ast
import configparser
import importlib
import importlib.metadata
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import monai_dgm

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "monai_dgm"

# Part of the package -> the other parts it may import. `errors` and `utils` may be imported by all of them.
# Imports point one way; a new folder needs a line here, and a thought about where it stands.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "utils": set(),
    "readers": set(),
    "networks": set(),
    "losses": set(),
    "transforms": {"readers"},
    "metrics": {"transforms"},
    "data": {"metrics", "readers", "transforms"},
    "report": {"metrics", "transforms"},
    "engines": {"data", "losses", "metrics", "networks", "readers", "report", "transforms"},
    "handlers": {"data", "engines", "losses", "metrics", "networks", "report", "transforms"},
    "labelling": {"data", "engines", "metrics", "networks", "readers", "report", "transforms"},
    # Runs what the label server runs, many times: its client of archives, its DICOM objects.
    "archive": {"data", "engines", "labelling", "readers", "transforms"},
    "jobs": {"data"},
    "reproduction": {"data", "engines", "jobs", "metrics", "networks", "report"},
    # The rows of Tables 5 to 7 are the reproduction's, run with other residues.
    "benchmark": {"data", "engines", "jobs", "metrics", "networks", "report", "reproduction", "transforms"},
    # Judges image files of any origin: it knows intervals and tables, no model.
    "reader_study": {"metrics", "report"},
    # the command is at the top: it calls what the bundles and the app call
    "cli": {
        "archive",
        "benchmark",
        "data",
        "engines",
        "handlers",
        "jobs",
        "labelling",
        "networks",
        "readers",
        "reproduction",
        "transforms",
    },
}
BASE = {"errors", "utils"}

# Parts that are divided again: each folder or file may import only those that stand before it.
ORDER: dict[str, tuple[str, ...]] = {
    "engines": (
        "weights",
        "files",
        "metric_rows",
        "overlay",
        "overrides",
        "setup",
        "network_evaluator",
        "residues",
        "lungs",
        "radiograph_result",
        "pipeline",
        "file_run",
        "classification",
        "training",
        "detection",
        "runtimes",  # exports single models; pipelines run the exports
        "pipeline_loading",
        "decomposition",
        "shipping",
    ),
    "archive": (
        "packages",
        "image_list",
        "image_files",
        "settings",
        "rows",
        "parts",
        "compaction",
        "result_objects",
        "stages",
        "estimate",
        "processes",
        "ray_run",
        "run",
    ),
    "labelling": ("labels", "dicom_objects", "active_learning", "server", "reading", "training", "archive"),
}

# Import name -> name of the distribution, where they differ.
DISTRIBUTION = {"PIL": "pillow", "ignite": "pytorch-ignite", "skimage": "scikit-image", "sklearn": "scikit-learn"}
DISTRIBUTION |= {
    "yaml": "pyyaml",
    "lazy_loader": "lazy-loader",
    "openjpeg": "pylibjpeg-openjpeg",
    "jpeg_ls": "pyjpegls",
}

FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    """Folder or top-level module below monai_dgm: "data" for monai_dgm.data.cache, "" for monai_dgm itself."""
    return module.split(".")[1] if "." in module else ""


def imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every import statement, inside functions too, and of modules that are imported by their name.

    ``from monai_dgm import x`` and ``from monai_dgm.part import x`` count as imports of ``monai_dgm.x`` and
    ``monai_dgm.part.x`` where those are modules.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("optional_import", "import_module"):
            names = [value for argument in node.args if isinstance(value := getattr(argument, "value", None), str)]
            yield from ((node.lineno, name) for name in names if name.split(".")[0] == "monai_dgm")
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(ROOT)}:{node.lineno}: write the import in full"
            source = node.module or ""
            for alias in node.names:
                full = f"{source}.{alias.name}"
                below = ROOT.joinpath(*full.split("."))
                yield node.lineno, full if below.is_dir() or below.with_suffix(".py").is_file() else source


def test_every_part_has_a_place_in_the_order() -> None:
    parts = {part_of(module_name(path)) for path in FILES} - {""}
    assert parts == set(MAY_IMPORT)


def test_the_order_has_no_cycle() -> None:
    rest = {part: allowed | BASE - {part} for part, allowed in MAY_IMPORT.items() if part not in BASE}
    while rest:
        free = {part for part, allowed in rest.items() if not allowed & rest.keys()}
        assert free, f"these parts may import each other in a circle: {sorted(rest)}"
        rest = {part: allowed for part, allowed in rest.items() if part not in free}


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_one_way(path: Path) -> None:
    part = part_of(module_name(path))
    allowed = set(MAY_IMPORT) if part == "" else MAY_IMPORT[part] | BASE | {part, ""}
    for line, module in imported_modules(path):
        top = module.split(".")[0]
        where = f"{path.relative_to(ROOT)}:{line}"
        assert top not in {"bundles", "apps", "tests", "benchmarks"}, f"{where}: the package imports {module}"
        if top == "monai_dgm":
            assert part_of(module) in allowed, f"{where}: {part or 'monai_dgm'} must not import {module}"


def subpart_of(module: str) -> str:
    """Folder or file below a part: "residues" for monai_dgm.engines.residues.cached, "" for monai_dgm.engines."""
    return module.split(".")[2] if module.count(".") > 1 else ""


@pytest.mark.parametrize("part", ORDER)
def test_every_subpart_has_a_place_in_the_order(part: str) -> None:
    modules = [module_name(path) for path in FILES]
    assert {subpart_of(module) for module in modules if part_of(module) == part} - {""} == set(ORDER[part])


@pytest.mark.parametrize("path", [path for path in FILES if part_of(module_name(path)) in ORDER], ids=module_name)
def test_imports_within_a_part_point_one_way(path: Path) -> None:
    own = module_name(path)
    order = ORDER[part_of(own)]
    allowed = {"", *order[: order.index(subpart_of(own)) + 1]} if subpart_of(own) else set(order)
    for line, module in imported_modules(path):
        if module.startswith(f"monai_dgm.{part_of(own)}"):
            where = f"{path.relative_to(ROOT)}:{line}"
            assert subpart_of(module) in allowed, f"{where}: {subpart_of(own)} must not import {module}"


def test_modules_that_are_imported_by_their_name_are_seen(tmp_path: Path) -> None:
    lines = [
        "from monai.utils import optional_import",
        "read, _ = optional_import('monai_dgm.data.cache', name='RadiographCache')",
        "importlib.import_module('monai_dgm.engines')",
        "optional_import('onnx')",
    ]
    (tmp_path / "module.py").write_text("\n".join(lines), encoding="utf-8")
    expected = [(1, "monai.utils"), (2, "monai_dgm.data.cache"), (3, "monai_dgm.engines")]
    assert list(imported_modules(tmp_path / "module.py")) == expected


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_no_file_that_is_loaded_can_run_code(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert keywords.get("weights_only") == "True", (
                f"{path.relative_to(ROOT)}:{node.lineno}: torch.load without weights_only=True"
            )


def optional_lines(path: Path) -> set[int]:
    """Lines inside ``try`` blocks that are ready for an ImportError."""
    return {
        line
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Try) and any(h.type and "ImportError" in ast.unparse(h.type) for h in node.handlers)
        for line in range(node.lineno, node.handlers[0].lineno)
    }


def test_imported_distributions_are_declared() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["options"]["install_requires"].split("\n")
    declared = {re.split(r"[<>=!~\[; ]", line, maxsplit=1)[0].lower() for line in lines if line.strip()}
    missing = {}
    for path in FILES:
        optional = optional_lines(path)
        for line, module in imported_modules(path):
            top = module.split(".")[0]
            if line not in optional and top not in sys.stdlib_module_names and top != "monai_dgm":
                name = DISTRIBUTION.get(top, top).lower()
                if name not in declared:
                    missing[name] = module_name(path)
    assert not missing, f"imported but not in setup.cfg's install_requires: {missing}"


def test_every_module_can_be_imported() -> None:
    for module in pkgutil.walk_packages(monai_dgm.__path__, "monai_dgm."):
        importlib.import_module(module.name)


DRAWING = {"matplotlib", "jinja2"}


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_what_draws_reports_is_imported_where_it_draws(path: Path) -> None:
    """A process that infers starts without them; an import at the top of a module would cost it half a second."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            drawing = {str(name).split(".")[0] for name in names} & DRAWING
            assert not drawing, f"{path.relative_to(ROOT)}:{node.lineno}: {drawing} at the top of the module"


def test_importing_the_package_is_light() -> None:
    script = "import sys, monai_dgm; sys.exit(any(name in sys.modules for name in ('torch', 'monai', 'matplotlib')))"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


PUBLIC = ("networks", "losses", "transforms", "data", "metrics", "engines", "handlers", "readers")


@pytest.mark.parametrize("part", PUBLIC)
def test_public_names_can_be_imported(part: str) -> None:
    folder = importlib.import_module(f"monai_dgm.{part}")
    assert folder.__all__ and len(set(folder.__all__)) == len(folder.__all__)
    for name in folder.__all__:
        assert getattr(folder, name) is not None and name in dir(folder)


@pytest.mark.parametrize("part", PUBLIC)
def test_importing_a_part_is_light(part: str) -> None:
    script = f"import sys, monai_dgm.{part}; sys.exit(any(name in sys.modules for name in ('torch', 'monai')))"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("path", [path for path in FILES if path.name == "__init__.py"], ids=module_name)
def test_every_folder_says_what_lives_there(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path.relative_to(ROOT)}: no docstring"


def test_constraints_pin_everything_that_setup_cfg_asks_for() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    texts = [config["options"]["install_requires"], *dict(config["options.extras_require"]).values()]
    asked = {re.split(r"[<>=!~\[; ]", line, maxsplit=1)[0] for line in "\n".join(texts).split("\n") if line.strip()}
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower()
    pinned = {match[1].replace("_", "-") for match in re.finditer(r"(?m)^([a-z0-9_.-]+)==", pins)}
    assert {name.lower() for name in asked} - {"monai-dgm"} <= pinned


def test_version_is_in_the_changelog_and_the_installed_metadata() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"(?m)^## \[?{re.escape(monai_dgm.__version__)}\b", changelog)
    try:
        installed = importlib.metadata.version("monai-dgm")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("monai-dgm is not installed (pip install -e .)")
    assert installed == monai_dgm.__version__
