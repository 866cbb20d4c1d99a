"""The wheel by itself: installed in an environment where nothing else is, run outside the repository.

``make test-wheel`` builds it from the source distribution, makes that environment, and names it in the environment
variable MONAI_DGM_WHEEL_ENVIRONMENT.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

import monai_dgm
from monai_dgm.utils.bundle_files import BUNDLES

VARIABLE = "MONAI_DGM_WHEEL_ENVIRONMENT"


@pytest.fixture(scope="module")
def programs() -> Path:
    """Folder of the programs of the environment."""
    if VARIABLE not in os.environ:
        pytest.skip(f"no environment with the wheel ({VARIABLE}); make test-wheel makes one")
    return Path(os.environ[VARIABLE]) / "bin"


def run(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder outside the repository, without what leads to the repository."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(word) for word in words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def package(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the installed package."""
    found = run(
        tmp_path_factory.mktemp("away"), programs / "python", "-c", "import monai_dgm; print(monai_dgm.__file__)"
    )
    assert found.returncode == 0, found.stderr
    return Path(found.stdout.strip()).parent


@pytest.fixture
def image(package: Path) -> Path:
    """A radiograph of the package."""
    return sorted((package / "data" / "examples" / "images").iterdir())[0]


def test_everything_is_in_it(package: Path, repository: Path) -> None:
    assert package.is_relative_to(os.environ[VARIABLE]) and not package.is_relative_to(repository / "monai_dgm")
    assert (package / "py.typed").is_file()
    for bundle in BUNDLES.values():
        for folder in ("configs", "docs", "models/shipped"):
            own = {path.name for path in (repository / "bundles" / bundle / folder).iterdir() if path.is_file()}
            assert {path.name for path in (package / "bundles" / bundle / folder).iterdir()} == own
    app = repository / "apps" / "radiology_dgm"
    for name in [path.relative_to(app) for path in app.rglob("*.py")]:
        assert (package / "apps" / "radiology_dgm" / name).is_file(), name
    assert not list(package.rglob("model.pt")) and not list(package.rglob(".ohif"))


def test_metadata(package: Path) -> None:
    (metadata,) = package.parent.glob("monai_dgm-*.dist-info")
    text = (metadata / "METADATA").read_text(encoding="utf-8")
    assert "## Three commands" in text and "](https://monai.io)" in text
    assert not re.findall(r"\]\((?!https?:)[^)]*\)", text)  # links and pictures that are only in the repository
    assert f"\nVersion: {monai_dgm.__version__}\n" in text
    assert "\nLicense-Expression: Apache-2.0 AND CC-BY-NC-SA-4.0\n" in text
    licences = {path.relative_to(metadata / "licenses").as_posix() for path in (metadata / "licenses").rglob("*.*")}
    assert {f"bundles/{bundle}/docs/data_license.txt" for bundle in BUNDLES.values()} <= licences
    assert (metadata / "licenses" / "LICENSE").is_file()


def test_doctor_finds_nothing_missing(programs: Path, package: Path, tmp_path: Path) -> None:
    finished = run(tmp_path, programs / "monai-dgm", "doctor", "--json")
    found = json.loads(finished.stdout)
    assert finished.returncode == 0 and found["problems"] == [] and found["installed_as"] == "wheel"
    assert {one["state"] for one in found["weights"].values()} == {"sound"} and found["label_app"]["files"]
    assert found["label_app"]["monailabel"] is None  # the environment has the wheel's requirements alone


def test_command_and_bundle_give_the_same_files(programs: Path, package: Path, image: Path, tmp_path: Path) -> None:
    before = sorted(path for path in package.rglob("*") if path.suffix != ".pyc")
    finished = run(tmp_path, programs / "monai-dgm", "decompose", image, "-o", "own")
    assert finished.returncode == 0 and "p(abnormal)" in finished.stdout, finished.stderr
    config = package / "bundles" / "dgm" / "configs" / "inference.json"
    words = (programs / "python", "-W", "ignore", "-m", "monai.bundle", "run", "evaluating")
    finished = run(tmp_path, *words, "--config_file", config, "--dataset_dir", image)
    assert finished.returncode == 0, finished.stderr
    bundle = tmp_path / "monai-dgm" / "dgm" / "eval"
    written = sorted(path.relative_to(bundle) for path in bundle.rglob("*") if path.is_file())
    assert len(written) == 7  # six of the radiograph, and scores.json
    for name in written:
        assert (bundle / name).read_bytes() == (tmp_path / "own" / name).read_bytes(), name
    assert sorted(path for path in package.rglob("*") if path.suffix != ".pyc") == before  # nothing is written there


def test_what_needs_an_extra_says_so(programs: Path, tmp_path: Path) -> None:
    finished = run(tmp_path, programs / "monai-dgm", "serve")
    assert finished.returncode == 1 and "pip install 'monai-dgm[label]'" in finished.stderr
    finished = run(tmp_path, programs / "monai-dgm", "export", "lungs")
    assert finished.returncode == 1 and "monai-dgm[onnx]" in finished.stderr, finished.stderr
    assert "Traceback" not in finished.stderr
