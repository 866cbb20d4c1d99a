"""Training with several processes (gloo, on the CPU): equal weights, gradients of the mean, one that writes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from monai.bundle import ConfigParser
from torch import Tensor

from monai_dgm.handlers.history import read_history

if TYPE_CHECKING:
    from tests.bundles.conftest import BundleCommands
    from tests.programs import Finished

Tiny = Callable[..., dict[str, Any]]
# The losses' gradients must not depend on a random number or be clipped, nor rounded to eight bits.
PLAIN = {"train#batch_transforms": [], "train#step#autocast": "$None", "train#step#max_grad_norm": "$None"}


def ranks(world_size: int = 2) -> list[dict[str, str]]:
    """What torchrun puts into the environment of each process."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    common = {"WORLD_SIZE": str(world_size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [{**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(world_size)]


def keep_states(folder: Path) -> Path:
    """A configuration that keeps, of each process, its weights before and after training and its last gradients."""
    networks = {"network": "@network", "discriminator": "@discriminator#network"}
    weights = ", ".join(f"'{name}': {network}.module.state_dict()" for name, network in networks.items())
    weights_after = weights + ", 'ema': @train#ema.ema_model.state_dict()"
    gradients = ", ".join(
        f"'{name}': list(map(operator.attrgetter('grad'), {network}.parameters()))"
        for name, network in networks.items()
    )

    def save(what: str, name: str) -> str:
        return f"$torch.save({{{what}}}, '{folder}/{name}_' + str(@rank) + '.pt')"

    keep = {
        "+imports": ["$import operator"],
        "+initialize": [save(weights, "before")],
        "finalize": [
            save(weights_after, "after"),
            save(gradients, "gradients"),
            "$torch.distributed.destroy_process_group()",
        ],
    }
    path = folder / "keep.json"
    path.write_text(json.dumps(keep))
    return path


@dataclass(frozen=True)
class TwoProcesses:
    """Two processes that trained one step, each told to write into a folder of its own.

    The step is an adversarial one, or one of the warm-up.
    """

    warm_up: bool
    folder: Path
    finished: list[Finished]

    def state(self, name: str, rank: int) -> dict[str, Any]:
        return torch.load(self.folder / f"{name}_{rank}.pt", weights_only=True)


@pytest.fixture(scope="module", params=[False, True], ids=["adversarial", "warm-up"])
def two(
    request: pytest.FixtureRequest, bundle: BundleCommands, tiny: Tiny, tmp_path_factory: pytest.TempPathFactory
) -> TwoProcesses:
    folder = tmp_path_factory.mktemp("two")
    few = {"max_epochs": 1, "epoch_length": 1, "warm_up_iterations": int(request.param)}
    overrides = tiny(f"$'{folder}/rank_' + str(@rank)", **few, **PLAIN)
    overrides["ckpt_dir"] = "$@output_dir + '/models'"
    configs = ("train", "multi_gpu_train", str(keep_states(folder)))
    finished = bundle(*bundle.arguments("training", *configs, **overrides), environments=ranks())
    assert [end.returncode for end in finished] == [0, 0], "\n".join(end.stderr for end in finished)
    return TwoProcesses(request.param, folder, finished)


def tensors(state: dict[str, Any]) -> Iterator[tuple[str, Tensor | None]]:
    for part, values in state.items():
        for name, value in values.items() if isinstance(values, dict) else enumerate(values):
            yield f"{part}/{name}", value


def same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other if one is None or other is None else torch.equal(one, other)


def test_weights_and_gradients_of_both_processes_are_equal(two: TwoProcesses) -> None:
    for name in ("before", "after", "gradients"):
        first, second = dict(tensors(two.state(name, 0))), dict(tensors(two.state(name, 1)))
        assert first.keys() == second.keys() and len(first) > 50
        for key in first:
            assert same(first[key], second[key]), f"{name}: {key}"
    before, after = two.state("before", 0), two.state("after", 0)
    changed = [part for part in before if any(not same(before[part][key], after[part][key]) for key in before[part])]
    assert changed == (["network"] if two.warm_up else ["network", "discriminator"])


def gradients_of_one(overrides: dict[str, Any], repository: Path, rank: int, weights: dict[str, Any]) -> dict[str, Any]:
    """Gradients of the first step on a process's batch, without any other process."""
    parser = ConfigParser()
    parser.read_config(repository / "bundles" / "dgm" / "configs" / "train.json")
    parser.update({**overrides, "train#sampler#rank": rank, "train#sampler#world_size": 2})
    networks = {
        "network": parser.get_parsed_content("network"),
        "discriminator": parser.get_parsed_content("discriminator#network"),
    }
    for name, network in networks.items():
        network.load_state_dict(weights[name])
    trainer = parser.get_parsed_content("train#trainer")
    trainer.state.iteration = 1
    trainer._iteration(trainer, next(iter(trainer.data_loader)))
    return {name: [p.grad for p in network.parameters()] for name, network in networks.items()}


def test_gradients_are_the_mean_over_the_batches_of_both(
    two: TwoProcesses, tiny: Tiny, repository: Path, tmp_path: Path
) -> None:
    overrides = tiny(tmp_path, warm_up_iterations=int(two.warm_up), **PLAIN)
    overrides = {name: str(value) if isinstance(value, Path) else value for name, value in overrides.items()}
    alone = [gradients_of_one(overrides, repository, rank, two.state("before", 0)) for rank in range(2)]
    together = two.state("gradients", 0)
    for name in ("network", "discriminator"):
        triples = list(zip(alone[0][name], alone[1][name], together[name], strict=True))
        trained = [(one, other, mean) for one, other, mean in triples if one is not None]
        assert all(other is None and mean is None for one, other, mean in triples if one is None)
        for one, other, mean in trained:
            torch.testing.assert_close((one + other) / 2, mean, rtol=1e-4, atol=1e-6)
        assert bool(trained) == (name == "network" or not two.warm_up)
        assert not trained or not all(torch.equal(one, other) for one, other, _ in trained)


def test_only_the_first_process_writes_and_speaks(two: TwoProcesses) -> None:
    written = [sorted(path.name for path in (two.folder / f"rank_{rank}").iterdir()) for rank in range(2)]
    assert {"checkpoint.pt", "history.jsonl", "models", "report", "tensorboard"} <= set(written[0])
    assert written[1] == ["cache"]  # the cache is everybody's: whoever comes first writes it
    assert "report: " in two.finished[0].stdout and "data: " in two.finished[0].stdout
    assert "report: " not in two.finished[1].stdout and "data: " not in two.finished[1].stdout


@pytest.mark.slow
def test_with_torchrun_and_once_more(bundle: BundleCommands, tiny: Tiny, repository: Path, tmp_path: Path) -> None:
    arguments = bundle.arguments("training", "train", "multi_gpu_train", **tiny(tmp_path))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nnodes=1", "--nproc_per_node=2"]
    run = subprocess.run(
        [*torchrun, "-m", "monai.bundle", *arguments],
        cwd=repository,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    again = bundle(*arguments, environments=ranks())  # there is nothing left to train
    assert [end.returncode for end in again] == [0, 0], "\n".join(end.stderr for end in again)
    for said in (run.stdout, "".join(end.stdout for end in again)):
        assert said.count("report: ") == 1
    assert [row["iteration"] for row in read_history(tmp_path / "history.jsonl")] == [1, 2, 3, 4, 5, 6]
