"""The bundle's command line on networks and images so small that a training takes seconds."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.bundles.small_trainings import Run, Tiny, Trained, small_training, train
from tests.programs import Finished, Program, Programs

CONFIGS = "bundles/dgm/configs"


class BundleCommands:
    """``python -m monai.bundle`` from the repository's root."""

    def __init__(self, programs: Programs, folder: Path) -> None:
        self.programs = programs
        self.folder = folder

    def __call__(
        self, *args: str, environments: Sequence[Mapping[str, str]] = ({},), timeout: float = 600
    ) -> list[Finished]:
        """Run a command, once for each of the ``environments``, side by side."""
        files = [(self.folder / f"stdout_{i}", self.folder / f"stderr_{i}") for i in range(len(environments))]
        started = []
        for env, (out, err) in zip(environments, files, strict=True):
            out.unlink(missing_ok=True)
            err.unlink(missing_ok=True)
            started.append(self.start(*args, env={**os.environ, **env}, stdout=out, stderr=err))
        codes = [program.wait(timeout) for program in started]
        return [Finished(code, out.read_text(), err.read_text()) for code, (out, err) in zip(codes, files, strict=True)]

    def start(self, *args: str, **others: Any) -> Program:
        """Start a command; ``others`` are those of :meth:`Programs.start`."""
        return self.programs.start(["-m", "monai.bundle", *args], **others)

    def run(self, run_id: str, *configs: str, **overrides: Any) -> Finished:
        """``run RUN_ID --config_file CONFIGS --key value ...``; the configurations by name, such as "train"."""
        return self(*self.arguments(run_id, *configs, **overrides))[0]

    @staticmethod
    def arguments(run_id: str, *configs: str, **overrides: Any) -> list[str]:
        """Arguments of ``python -m monai.bundle``, as a user types them; a configuration may be a path, too."""
        files = [name if name.endswith(".json") else f"{CONFIGS}/{name}.json" for name in configs]
        pairs = [text for key, value in overrides.items() for text in (f"--{key}", str(value))]
        return ["run", run_id, "--config_file", files[0] if len(files) == 1 else str(files), *pairs]


@pytest.fixture(scope="session")
def tiny(sample_dir: Path) -> Tiny:
    """tiny(output_dir, **others): overrides of train.json that make an iteration take milliseconds."""
    return lambda output_dir, **others: {
        **small_training(output_dir, sample_dir),
        "base_width": 2,
        "num_res_blocks": 1,
        "batch_size": 2,
        "warm_up_iterations": 1,
        "test#metrics#num_bootstrap": 3,
        "test#handlers#0#num_panels": 2,  # drawing is half of the time
        "validate#handlers#2#count": 1,
        **others,
    }


@pytest.fixture(scope="session")
def bundle(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> BundleCommands:
    """Runs bundle commands."""
    return BundleCommands(programs, tmp_path_factory.mktemp("commands"))


@pytest.fixture(scope="module")
def run(bundle: BundleCommands, root: Path) -> Run:
    """run(run_id, *configs, **overrides): a command of the module's bundle ``root``, by names of its configurations."""
    return lambda run_id, *names, **overrides: bundle.run(
        run_id, *(str(root / "configs" / f"{name}.json") for name in names), **overrides
    )


@pytest.fixture
def unhooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a bundle's initialisation changes in the process is put back."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", torch.backends.cudnn.deterministic)


@pytest.fixture(scope="session")
def trained(bundle: BundleCommands, tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One training for all tests: read its files, do not write into its folder."""
    return train(bundle.run, tiny(tmp_path_factory.mktemp("trained")))
