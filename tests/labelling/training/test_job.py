from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.training.fine_tuning import FineTuneOptions
from monai_dgm.labelling.training.job import JobFolder, TrainingJob, local_time, progress_share, progress_text

PATHS = {name: name for name in ("config_file", "weights", "decomposer", "labels", "models", "validation_file")}
JOB = TrainingJob(options=FineTuneOptions(max_epochs=3), images={"an id": "/a/path"}, **PATHS)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "job")
    assert folder.job() is None and folder.progress() == {} and folder.result() is None
    folder.write_job(JOB)
    folder.write_progress({"phase": "training"})
    folder.write_result({"status": "DONE"})
    result = folder.result()
    assert folder.job() == JOB and folder.progress()["phase"] == "training"
    assert result is not None and result["status"] == "DONE" and len(local_time(result["time"])) == 19


def test_a_job_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    values = JOB.model_dump()
    values["record"] = values.pop("validation_file")
    (tmp_path / "job.json").write_text(json.dumps(values))
    assert JobFolder(tmp_path).job() == JOB


@pytest.mark.parametrize("text", ["", "[]", "{", '{"options": {}}', '{"options": 3}', '{"options": {"x": 1}}'])
def test_a_damaged_job_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.json").write_text(text)
    assert JobFolder(tmp_path).job() is None


def test_no_folder_to_write_in_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder with room to write it"):
        JobFolder(tmp_path / "file").write_progress({})


def test_progress_in_words() -> None:
    assert progress_text({}, JOB.options) == ["starting"]
    assert progress_text({"phase": "comparing", "epoch": 3}, JOB.options) == ["comparing"]
    steps = JOB.options.max_epochs * JOB.options.epoch_length
    assert progress_share({}, JOB.options) is None
    assert progress_share({"iteration": steps // 2}, JOB.options) == pytest.approx(0.5, abs=1 / steps)
    told = progress_text({"phase": "training", "epoch": 2, "iteration": 60, "loss": 0.5}, JOB.options)
    assert told == ["epoch 2 of 3, step 60 of 150, loss 0.500"]
