"""Bundles and label app are found from every working folder, and a wheel's are not written to."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_dgm.errors import InputError
from monai_dgm.utils import bundle_files
from monai_dgm.utils.bundle_files import BUNDLES, app_folder, bundle_folder, bundles_folder, writable_folder


def make_bundle(folder: Path) -> Path:
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text("{}", encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", BUNDLES.values())
def test_from_anywhere_the_shipped_bundle(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Path(bundle_folder(name)) == bundles_folder() / name
    assert (Path(bundle_folder(name)) / "configs" / "inference.json").is_file()
    assert (app_folder() / "main.py").is_file()


def test_in_a_repository_the_relative_path(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    assert bundle_folder("dgm") == "bundles/dgm"
    assert writable_folder("bundles/dgm") == "bundles/dgm"


def test_in_unzipped_bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, beside = make_bundle(tmp_path / "dgm"), make_bundle(tmp_path / "lung_segmentation")
    monkeypatch.chdir(own)
    assert (bundle_folder("dgm"), bundle_folder("lung_segmentation")) == (".", "../lung_segmentation")
    assert Path(bundle_folder("opacity_detection")) == bundles_folder() / "opacity_detection"
    monkeypatch.chdir(tmp_path)
    assert bundle_folder("dgm") == "dgm" and Path(bundle_folder("lung_segmentation")).resolve() == beside


def test_inside_a_wheel_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "monai_dgm"
    inside = make_bundle(package / "bundles" / "dgm")
    monkeypatch.setattr(bundle_files, "PACKAGE", package)
    monkeypatch.chdir(tmp_path)
    assert bundle_files.in_wheel() and Path(bundle_folder("dgm")) == inside
    assert writable_folder(bundle_folder("dgm")) == str(Path("monai-dgm") / "dgm")
    assert writable_folder(str(tmp_path / "own" / "dgm")) == str(tmp_path / "own" / "dgm")


def test_what_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="expected one of dgm, lung_segmentation, .* got 'spleen'"):
        bundle_folder("spleen")
    monkeypatch.setattr(bundle_files, "PACKAGE", tmp_path / "monai_dgm")
    with pytest.raises(InputError, match="expected the folder apps in it or beside it"):
        app_folder()
