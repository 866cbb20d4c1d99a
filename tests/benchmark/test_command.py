"""The command itself: bad arguments in one line, and the toy from end to end."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from monai_dgm.benchmark.__main__ import main
from tests.jobs.forked_jobs import FORKED_JOBS
from tests.programs import Programs


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--budget", "0"], "budget: expected minutes above 0"),
        (["--systems", "nobody"], "systems: expected some of dgm_paper"),
        (["--imagenet", "nowhere.pth"], "nowhere.pth: expected"),
        (["--dataset_dir", "nowhere"], "nowhere: expected a folder with a manifest.csv"),
    ],
)
def test_bad_arguments_are_one_line(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--output_dir", str(tmp_path), *arguments]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and said[0].startswith("error: ") and words in said[0]


@pytest.mark.slow
def test_the_toy_from_end_to_end(programs: Programs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--output_dir", str(tmp_path), "--systems", "dgm_boxes,vagan,aeu", "--seeds", "0,1"]
    first = programs.run([FORKED_JOBS, "monai_dgm.benchmark", *arguments], timeout=1500)
    assert first.returncode == 0, first.stderr
    report = tmp_path / "report"
    with open(report / "metrics.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    trained = [row for row in rows if row["system"] in ("dgm_boxes", "vagan", "aeu")]
    assert {row["test_set"] for row in trained} == {"simulator", "inserted", "real", "realism"}
    assert all(row["seeds"] == "2" and row["weights"].count("sha256:") == 2 for row in trained)
    assert {row["system"] for row in rows} >= {"unchanged", "mean_box_prior"}
    costs = json.loads((report / "results.json").read_text(encoding="utf-8"))["costs"]
    assert all(costs[name]["step_ms"] > 0 and costs[name]["gflop"] > 0 for name in ("dgm_boxes", "vagan", "aeu"))
    page = (report / "index.html").read_text(encoding="utf-8")
    assert "no real data" in page and "Failed" not in page and page.count("data:image/png") >= 3
    assert (report / "simulator.tex").read_text(encoding="utf-8").count("\\\\") > 8
    assert main(arguments) == 0
    assert "done in" not in capsys.readouterr().out  # nothing was left to train
