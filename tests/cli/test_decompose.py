"""`monai-dgm decompose` gives what the inference bundle gives, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from monai.bundle import ConfigWorkflow

from monai_dgm.data import example_radiographs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five radiographs (a batch of four, and one) and a file that is none."""
    folder = tmp_path_factory.mktemp("radiographs")
    for path in sorted((example_radiographs() / "images").iterdir())[:5]:
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="module")
def of_the_bundles(folder: Path, tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """Results of the bundles dgm and opacity_detection."""
    output = tmp_path_factory.mktemp("bundles")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        patch.setattr("monai_dgm.engines.setup.report_input_errors_in_one_line", lambda: None)
        for bundle in ("dgm", "opacity_detection"):
            workflow = ConfigWorkflow(
                config_file=f"bundles/{bundle}/configs/inference.json",
                workflow_type="inference",
                dataset_dir=str(folder),
                output_dir=str(output / bundle),
            )
            workflow.initialize()
            workflow.run()
    return output


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_decompose_writes_the_bundles_files(
    command: Callable, folder: Path, of_the_bundles: Path, tmp_path: Path
) -> None:
    finished = command("decompose", folder, "--output", tmp_path)
    assert finished.status == 0, finished.stderr
    own, bundles = contents(tmp_path), contents(of_the_bundles / "dgm")
    assert own.keys() == bundles.keys() and len(own) == 5 * 6 + 1
    assert [name for name in own if own[name] != bundles[name]] == []
    assert "5 decomposed" in finished.stdout and "Not a medical device" not in finished.stderr


def test_detect_writes_the_bundles_files(command: Callable, folder: Path, of_the_bundles: Path, tmp_path: Path) -> None:
    finished = command("detect", folder, "--output", tmp_path)
    assert finished.status == 0, finished.stderr
    own, bundles = contents(tmp_path), contents(of_the_bundles / "opacity_detection")
    assert own.keys() == bundles.keys() and len(own) == 5 + 1
    assert [name for name in own if own[name] != bundles[name]] == []


def test_json_is_what_the_file_holds(command: Callable, folder: Path, tmp_path: Path) -> None:
    image = sorted(folder.iterdir())[0]
    finished = command("decompose", image, "-o", tmp_path, "--no-panel", "--json")
    assert json.loads(finished.stdout) == json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert not (tmp_path / image.stem / "panel.png").exists()


def test_one_bad_file_ends_with_status_1_and_the_others_are_written(
    command: Callable, folder: Path, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    good = sorted(folder.iterdir())[0]
    (mixed / "good.png").write_bytes(good.read_bytes())
    (mixed / "broken.png").write_bytes(good.read_bytes()[:200])
    finished = command("decompose", mixed, "-o", tmp_path / "out")
    assert finished.status == 1
    assert "1 could not be used" in finished.stdout and "p(abnormal)" in finished.stdout
    assert (tmp_path / "out" / "good" / "residue.nii.gz").is_file()
    only_bad = command("decompose", mixed / "broken.png", "-o", tmp_path / "none")
    assert only_bad.status == 1 and "error: broken.png" in only_bad.stderr


def test_many_are_listed_in_a_table(command: Callable, folder: Path, tmp_path: Path) -> None:
    finished = command("decompose", folder, "-o", tmp_path)
    lines = finished.stdout.splitlines()
    assert lines[0].split()[:2] == ["file", "p(abnormal)"] and len(lines) == 1 + 5 + 2
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))["images"]
    for line, image in zip(lines[1:], scores, strict=False):
        assert line.split()[:2] == [image["file"], f"{image['abnormality_probability']:.2f}"]
