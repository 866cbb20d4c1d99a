"""The command itself: what it says of bad arguments, and the toy argument from end to end, killed once on the way."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from monai_dgm.reproduction.__main__ import main
from tests.jobs.forked_jobs import FORKED_JOBS
from tests.programs import Programs


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tables", "3"], r"tables: expected some of 4, 5, 6, 7, got \[3\]"),
        (["--decomposers", "model.pt"], "with {fold} in it"),
        (["--cross_fitted"], "expected --decomposers as well"),
        (["--dataset_dir", "nowhere"], "nowhere: expected a folder with a manifest.csv or the RSNA challenge"),
        (["--dataset_dir", "{sample}", "--folds", "9"], "the data have no fold 9"),
        (["--dataset_dir", "{sample}", "--bundles_dir", "nowhere"], "give --bundles_dir"),
    ],
)
def test_bad_arguments_are_one_line(
    arguments: list[str], words: str, sample_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [argument.replace("{sample}", str(sample_dir)) for argument in arguments]
    assert main(["--output_dir", str(tmp_path), *given]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and said[0].startswith("error: ") and re.search(words, said[0])


def test_a_report_before_any_training(sample_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--output_dir", str(tmp_path), "--dataset_dir", str(sample_dir), "--report_only"]) == 0
    assert "No metrics yet." in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert not (tmp_path / "jobs").exists()


def test_help_names_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    for name in ("--output_dir", "--dataset_dir", "--preset", "--folds", "--tables"):
        assert name in said


def cells(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_the_toy_argument_from_end_to_end_killed_once(
    repository: Path, programs: Programs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "monai_dgm.reproduction", "--output_dir", str(tmp_path)]
    first = subprocess.Popen(command, cwd=repository, start_new_session=True, stdout=subprocess.DEVNULL)
    # Killed amid the second job, so that there is a finished one and one that is under way.
    for _ in range(3000):
        if len(list(tmp_path.glob("jobs/*/done.json"))) >= 1 and len(list(tmp_path.glob("jobs/*/log.txt"))) >= 2:
            break
        assert first.poll() is None
        time.sleep(0.1)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("jobs/*/done.json")}
    assert kept

    second = programs.run([FORKED_JOBS, *command[2:]], timeout=1500)
    assert second.returncode == 0, second.stderr
    assert f"report: {tmp_path / 'report' / 'index.html'}" in second.stdout
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())  # not trained again

    for number, rows in ((4, 3), (5, 2), (6, 2), (7, 2)):
        found = cells(tmp_path / "report" / f"table{number}.csv")
        assert len({cell["method"] for cell in found}) == rows
        assert all(cell["folds"] == "0 1" and cell["checkpoints"].count("sha256:") == 2 for cell in found)
        assert all("paper" not in name for name in found[0])
    assert {cell["table"] for cell in cells(tmp_path / "report" / "differences.csv")} == {"5", "6", "7"}
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "no real data" in page and "Warnings" not in page
    assert main(["--output_dir", str(tmp_path)]) == 0
    assert "done in" not in capsys.readouterr().out  # nothing was left to do
