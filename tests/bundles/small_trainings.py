"""Trainings that take seconds, and what every bundle's configurations are asked for."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle.config_item import ConfigComponent

from tests.bundles.observed_keys import target_of

if TYPE_CHECKING:
    from tests.programs import Finished

Overrides = dict[str, Any]
Tiny = Callable[..., Overrides]
Run = Callable[..., "Finished"]


@dataclass(frozen=True)
class Trained:
    """A small training that has ended well."""

    overrides: Overrides
    finished: Finished

    @property
    def folder(self) -> Path:
        return Path(self.overrides["output_dir"])

    @property
    def models(self) -> Path:
        return self.folder / "models"

    @property
    def weights(self) -> Path:
        return self.models / "model.pt"


def small_training(output_dir: Path | str, sample_dir: Path, **others: Any) -> Overrides:
    """Overrides of any bundle's train.json for the fixture ``sample_dir``: two epochs of three iterations at 32 px."""
    return {
        "output_dir": output_dir,
        "ckpt_dir": f"{output_dir}/models",
        "sample_dir": sample_dir,
        "sample_patients": 24,  # as the fixture has it
        "sample_size": 64,
        "image_size": 32,
        "epoch_length": 3,
        "max_epochs": 2,
        "val_interval": 1,
        "log_interval": 1,
        **others,
    }


def small_network_training(output_dir: Path | str, sample_dir: Path, **others: Any) -> Overrides:
    """:func:`small_training` of a classifier, detector or segmentor."""
    return small_training(
        output_dir, sample_dir, **{"batch_size": 4, "train#checkpoint#save_interval": 2, "num_bootstrap": 3, **others}
    )


def train(run: Run, overrides: Overrides) -> Trained:
    """Run a training to its end."""
    finished = run("training", "train", **overrides)
    assert finished.returncode == 0, finished.stderr
    return Trained(overrides, finished)


def metrics(folder: Path) -> Any:
    """The metrics of a report."""
    return json.loads((folder / "report" / "metrics.json").read_text(encoding="utf-8"))


def one_line(stderr: str) -> str:
    """The one line that an error of a command is."""
    errors = [line for line in stderr.strip().splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in stderr, stderr
    return errors[0]


def files(root: Path) -> dict[str, str]:
    """Arguments of MONAI's verification of a bundle."""
    configs = root / "configs"
    return {"meta_file": str(configs / "metadata.json"), "config_file": str(configs / "inference.json")}


def components(config: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """(id, content) of everything that is instantiated."""
    if isinstance(config, dict):
        if "_target_" in config:
            yield place, config
        for key, value in config.items():
            yield from components(value, f"{place}#{key}")
    elif isinstance(config, list):
        for number, value in enumerate(config):
            yield from components(value, f"{place}#{number}")


def check_components(config: Path) -> None:
    """Every component exists and takes its arguments."""
    for place, content in components(json.loads(config.read_text(encoding="utf-8"))):
        target = target_of(content)
        assert target is not None, f"{place}: there is no {content['_target_']}"
        arguments = [key for key in content if key not in ConfigComponent.non_arg_keys]
        inspect.signature(target).bind_partial(**dict.fromkeys(arguments))  # TypeError: no such argument


def commands(text: str) -> Iterator[list[str]]:
    """The bundle commands of a Markdown page, as a shell takes them apart."""
    for line in text.replace("\\\n", " ").splitlines():
        if "-m monai.bundle run " in line:
            words = shlex.split(line)
            yield words[words.index("monai.bundle") + 1 :]


def check_commands(page: Path, repository: Path, at_least: int) -> None:
    """Run ids, files and keys of a page's commands exist."""
    found = list(commands(page.read_text(encoding="utf-8")))
    assert len(found) >= at_least
    for _, run_id, *options in found:
        given = dict(zip(options[::2], options[1::2], strict=True))
        paths = given.pop("--config_file")
        parser = ConfigParser()
        parser.read_config([str(repository / path) for path in paths.strip("[]").replace("'", "").split(",")])
        assert run_id in parser, f"{page}: no run id {run_id} in {paths}"
        for option in given:
            assert option == "--tracking" or option.removeprefix("--") in parser, f"{page}: no key {option} in {paths}"


def check_train_workflow(root: Path, overrides: Overrides) -> ConfigWorkflow:
    """The platform's tools find what they look for in train.json; returns the workflow."""
    texts = {name: str(value) if isinstance(value, Path) else value for name, value in overrides.items()}
    config = str(root / "configs" / "train.json")
    workflow = ConfigWorkflow(config, workflow_type="train", logging_file=False, **texts)
    workflow.initialize()
    assert workflow.check_properties() == []
    for name in ("train_inferer", "train_handlers", "train_preprocessing", "evaluator", "val_interval", "val_inferer"):
        assert getattr(workflow, name) is not None, name
    return workflow
