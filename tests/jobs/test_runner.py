"""Running what is missing: once, in order, going on after a kill, and only what is sound counts."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from monai_dgm.errors import InputError
from monai_dgm.jobs.dataset_info import DatasetInfo
from monai_dgm.jobs.job import Job
from monai_dgm.jobs.job_record import SCORES, job_key, read_job_record
from monai_dgm.jobs.runner import LOG_FILE, Runner, all_decomposers, changed_configs
from monai_dgm.reproduction.jobs import Plan, make_plan
from monai_dgm.reproduction.presets import PRESETS

DATASET_INFO = DatasetInfo(None, Path("sample"), "made up", "5" * 64, (0, 1))

# Stands in for a bundle: weights and scores, a line in a diary, or an error for the jobs named in the file "broken".
COMMAND = """
import sys, pathlib
folder, name, *files = sys.argv[1:]
root = pathlib.Path(folder).parent.parent
if name in (root / "broken").read_text().split():
    sys.exit("Traceback ...\\nerror: nothing to train on")
with open(root / "diary", "a") as diary:
    print(name, file=diary)
for file in files:
    path = pathlib.Path(folder, file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name)
pathlib.Path(folder, "checkpoint.pt").write_text("large")
"""


@pytest.fixture
def plan() -> Plan:
    return make_plan(PRESETS["toy"], (0, 1), (4, 7))


@pytest.fixture
def runner(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    runner = Runner(tmp_path, DATASET_INFO, repository / "bundles")

    def arguments(job: Job, needed: object) -> list[str]:
        files = [*([] if job.kind == "head" else ["models/model.pt"]), *SCORES.get(job.kind, ())]
        return ["-c", COMMAND, str(runner.folder(job, needed)), job.name, *files]

    monkeypatch.setattr(runner, "arguments", arguments)
    broken(runner, "")
    return runner


def broken(runner: Runner, names: str) -> None:
    (runner.root / "broken").write_text(names)


def diary(runner: Runner) -> list[str]:
    path = runner.root / "diary"
    return path.read_text().split() if path.is_file() else []


def test_everything_runs_once_in_order(runner: Runner, plan: Plan) -> None:
    names = [job.name for job in plan.jobs]
    assert list(runner.run(plan.jobs).finished) == diary(runner) == names
    assert list(runner.run(plan.jobs).finished) == diary(runner) == names  # and nothing again


def test_a_finished_job_says_what_it_was(runner: Runner, plan: Plan) -> None:
    outcome = runner.run(plan.jobs)
    for job in plan.jobs:
        record = outcome.finished[job.name]
        assert (runner.root / record.weights).is_file() and len(record.sha256) == 64
        assert record.data_sha256 == DATASET_INFO.sha256 and set(record.configs) == set(job.configs)
        assert str(runner.root) not in json.dumps(dataclasses.asdict(record))
        assert record.decomposer_sha256 == (outcome.finished[job.needs].sha256 if job.needs else None)
    assert not list(runner.root.rglob("checkpoint.pt"))  # of finished trainings


def test_a_failure_stops_what_needs_it_and_is_tried_again(runner: Runner, plan: Plan) -> None:
    broken(runner, "fold0-decomposer")
    outcome = runner.run(plan.jobs)
    needing = {job.name for job in plan.jobs if job.needs == "fold0-decomposer"}
    assert set(outcome.failed) == {"fold0-decomposer", *needing}
    assert outcome.failed["fold0-decomposer"].startswith("nothing to train on (see jobs/fold0-decomposer-")
    assert set(outcome.finished) == {job.name for job in plan.jobs} - set(outcome.failed)
    broken(runner, "")
    assert not runner.run(plan.jobs).failed and len(diary(runner)) == len(plan.jobs)


def test_missing_scores_are_a_failure(runner: Runner, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "arguments", lambda job, needed: ["-c", "pass"])
    outcome = runner.run(plan.jobs)
    assert "expected this file" in outcome.failed["fold0-decomposer"] and not outcome.finished


def test_weights_that_changed_are_made_anew_and_so_is_what_saw_their_residues(runner: Runner, plan: Plan) -> None:
    record = runner.run(plan.jobs).finished["fold0-decomposer"]
    (runner.root / record.weights).write_text("others")
    once = len(diary(runner))
    assert not runner.run(plan.jobs).failed
    assert diary(runner)[once:] == ["fold0-decomposer"]  # which came out the same again


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"scores": 3}'])
def test_a_record_that_cannot_be_read_is_none(runner: Runner, plan: Plan, content: str | None) -> None:
    record = runner.run(plan.jobs).finished["fold0-decomposer"]
    folder = (runner.root / record.weights).parents[1]
    path = folder / "done.json"
    path.unlink() if content is None else path.write_text(content)
    assert read_job_record(folder, record.key, runner.root) is None


def test_a_record_of_another_key_or_without_its_weights_is_none(runner: Runner, plan: Plan) -> None:
    record = runner.run(plan.jobs).finished["fold0-decomposer"]
    folder = (runner.root / record.weights).parents[1]
    assert read_job_record(folder, record.key, runner.root) == record
    assert read_job_record(folder, "another", runner.root) is None
    (runner.root / record.weights).unlink()
    assert read_job_record(folder, record.key, runner.root) is None


def test_looking_at_it_trains_nothing(runner: Runner, plan: Plan) -> None:
    outcome = runner.run(plan.jobs, train=False)
    assert len(outcome.waiting) == len(plan.jobs) and not diary(runner)


def test_the_key_is_of_what_decides_the_outcome(plan: Plan) -> None:
    job = plan.jobs[1]
    others = [
        job_key(dataclasses.replace(job, overrides={**job.overrides, "max_epochs": 99}), "data", None),
        job_key(dataclasses.replace(job, fold=7), "data", None),
        job_key(job, "other data", None),
        job_key(job, "data", "decomposer"),
    ]
    assert len({job_key(job, "data", None), *others}) == 5
    assert job_key(dataclasses.replace(job, title="in other words"), "data", None) == job_key(job, "data", None)


def test_the_command_names_all_paths(tmp_path: Path, repository: Path, plan: Plan) -> None:
    dataset_info = dataclasses.replace(DATASET_INFO, dataset_dir=tmp_path / "data")
    runner = Runner(tmp_path / "out", dataset_info, repository / "bundles")
    for job in (job for job in plan.jobs if job.needs is None):
        arguments = runner.arguments(job, None)
        pairs = dict(zip(arguments[6::2], arguments[7::2], strict=True))
        assert pairs["--output_dir"] == str(runner.folder(job, None)) and pairs["--fold"] == str(job.fold)
        assert pairs["--ckpt_dir"].startswith(pairs["--output_dir"])
        assert pairs["--dataset_dir"] == str(tmp_path / "data")


def test_other_decomposers_can_be_taken(runner: Runner, plan: Plan) -> None:
    for fold in plan.folds:
        folder = runner.root / f"given{fold}"
        folder.mkdir()
        (folder / "model.pt").write_text("weights")
        (folder / "model.json").write_text(json.dumps({"fold": fold, "trained_on": "made up"}))
    runner.decomposers = str(runner.root / "given{fold}" / "model.pt")
    outcome = runner.run(plan.jobs)
    assert not outcome.failed and not [name for name in diary(runner) if "decomposer" in name]
    (runner.root / "given1" / "model.json").write_text(json.dumps({"fold": 0}))
    assert "expected a decomposer trained without fold 1" in runner.run(plan.jobs).failed["fold1-decomposer"]


def test_cross_fitting_names_the_decomposers_of_all_folds(tmp_path: Path, repository: Path) -> None:
    for fold in (0, 1):
        (tmp_path / f"model{fold}.pt").write_text(f"weights of {fold}")
        (tmp_path / f"model{fold}.json").write_text(json.dumps({"fold": fold}))
    paths = str(tmp_path / "model{fold}.pt")
    fingerprint = all_decomposers(paths, (0, 1))
    runner = Runner(tmp_path, DATASET_INFO, repository / "bundles", paths)
    plan = make_plan(PRESETS["toy"], (0,), (5,), fingerprint)
    job = next(job for job in plan.jobs if "cross_fitted" in job.name)
    arguments = runner.arguments(job, runner.given(plan.jobs[0]))
    assert arguments[arguments.index("--cross_fitted") + 1] == paths
    (tmp_path / "model1.pt").write_text("others")
    assert all_decomposers(paths, (0, 1)) != fingerprint
    with pytest.raises(InputError, match="without fold 1"):
        (tmp_path / "model1.json").write_text(json.dumps({"fold": 0}))
        all_decomposers(paths, (0, 1))


def test_changed_configurations_are_noticed(runner: Runner, plan: Plan, tmp_path: Path, repository: Path) -> None:
    outcome = runner.run(plan.jobs)
    assert changed_configs(outcome, plan.jobs, repository / "bundles") == []
    assert changed_configs(outcome, plan.jobs, tmp_path) == [job.name for job in plan.jobs]


def test_bundles_have_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--bundles_dir"):
        Runner(tmp_path, DATASET_INFO, tmp_path)


@pytest.fixture
def started(tmp_path: Path, repository: Path) -> Callable[[], subprocess.Popen[str]]:
    """Starts a run whose only job sleeps."""
    script = (
        "import sys; from pathlib import Path\n"
        "from monai_dgm.reproduction.jobs import make_plan\n"
        "from monai_dgm.jobs.dataset_info import DatasetInfo\n"
        "from monai_dgm.reproduction.presets import PRESETS\n"
        "from monai_dgm.jobs.runner import Runner\n"
        f"runner = Runner(Path({str(tmp_path)!r}), DatasetInfo(None, Path('s'), 'n', '0', (0,)), Path('bundles'))\n"
        "sleep = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'\n"
        "runner.arguments = lambda job, needed: ['-c', sleep]\n"
        "runner.run(make_plan(PRESETS['toy'], (0,), (7,)).jobs)\n"
    )
    return lambda: subprocess.Popen([sys.executable, "-c", script], cwd=repository, text=True)


def child_of(tmp_path: Path) -> int:
    for _ in range(600):
        logs = [path.read_text().strip() for path in tmp_path.glob(f"jobs/*/{LOG_FILE}")]
        if logs and logs[0]:
            return int(logs[0])
        time.sleep(0.1)
    raise AssertionError("no job started")


def ended(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")")[-1].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes in /proc")
def test_a_run_that_is_told_to_end_takes_its_training_along(started, tmp_path: Path) -> None:
    process = started()
    child = child_of(tmp_path)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM and ended(child)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes in /proc")
def test_a_training_whose_run_was_killed_keeps_the_folder_for_itself(started, tmp_path: Path) -> None:
    process = started()
    child = child_of(tmp_path)
    process.kill()
    process.wait()
    with open(tmp_path / ".lock") as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(child, signal.SIGKILL)
        fcntl.flock(lock, fcntl.LOCK_EX)  # free as soon as the training has ended
