"""Small models, and a cache of exports that the user's own is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines.runtimes.models import write_models


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weights of small models by their kind."""
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def shared_exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


@pytest.fixture
def exports(shared_exports: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache, shared by the tests of a process: an export takes a second."""
    monkeypatch.setenv("MONAI_DGM_CACHE", str(shared_exports))
    return shared_exports / "exports"
