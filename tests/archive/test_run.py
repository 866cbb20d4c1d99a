"""What a run guarantees, shown by the steps in one process; tests/archive/test_ray_run.py shows it on a cluster."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from monai_dgm.archive.estimate import estimate
from monai_dgm.archive.run import ArchiveJob
from monai_dgm.data.fingerprints import hash_file
from monai_dgm.errors import InputError, UsageError
from tests.archive.conftest import rows_in, run_here, write_picture
from tests.decomposers import write_decomposer

MakeJob = Callable[..., ArchiveJob]


def test_every_file_is_one_row(make_job: MakeJob, pictures: Path) -> None:
    job = make_job()
    assert run_here(job)["done"] == 5
    rows = rows_in(job)
    names = ["0.png", "1.png", "2.png", "3.png", "broken.png", "deeper/4.png", "note.txt"]
    assert [row["identifier"] for row in rows] == names
    for row in rows:
        assert row["content_sha256"] == hash_file(pictures / row["identifier"])
        assert row["decomposer_sha256"] == job.settings.sha256["decomposer"] and row["detector_sha256"] is None
        assert row["settings_sha256"] == job.settings.key
        if row["identifier"] in ("broken.png", "note.txt"):
            assert row["status"] == "failed" and "image: " in row["reason"] and str(pictures) not in row["reason"]
            assert row["abnormality_probability"] is None
        else:
            assert row["status"] == "done" and row["reason"] is None
            assert (row["rows"], row["cols"]) == (48, 40) and row["residue_burden"]["region"] == "whole_image"


def test_values_are_those_of_the_command_for_a_folder(make_job: MakeJob, pictures: Path, tmp_path: Path) -> None:
    from monai_dgm.cli.models import load_models, run_over_files
    from monai_dgm.handlers.decomposition_saver import DecompositionSaver

    job = make_job()
    run_here(job)
    weights = Path(job.settings.weights["decomposer"])
    pipeline = load_models(("decomposer",), device="cpu", replaced={"decomposer": weights})
    options = {"outputs": "scores", "panels": False}
    saver = run_over_files(DecompositionSaver, pictures, tmp_path / "decomposed", pipeline, runtime="torch", **options)
    found = {row["identifier"]: row for row in rows_in(job)}
    assert len(saver.report["images"]) == 5
    for image in saver.report["images"]:
        row = found[image["file"]]
        # networks round otherwise in batches of other radiographs
        for name, value in image.items():
            if name in row and name != "residue_burden":
                assert row[name] == (pytest.approx(value, abs=2e-6) if isinstance(value, float) else value), name
        assert row["residue_burden"]["total"] == pytest.approx(image["residue_burden"]["total"], rel=1e-5)


def test_a_second_run_does_nothing(make_job: MakeJob) -> None:
    job = make_job()
    run_here(job)
    before = {path: path.read_bytes() for path in job.parts.paths()}
    assert run_here(make_job()) == {}
    assert {path: path.read_bytes() for path in job.parts.paths()} == before


def test_a_file_that_was_only_touched_is_read_but_not_done_again(make_job: MakeJob, pictures: Path) -> None:
    run_here(make_job())
    os.utime(pictures / "0.png", ns=(1, 1))
    assert run_here(make_job())["same"] == 1
    assert len(rows_in(make_job())) == 7


def test_a_copy_gets_the_values_of_its_original_without_the_networks(
    make_job: MakeJob, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_here(make_job())
    (pictures / "copy.png").write_bytes((pictures / "1.png").read_bytes())
    monkeypatch.setattr("monai_dgm.archive.stages.RunModels._run", lambda *_: pytest.fail("the networks ran"))
    run_here(make_job())
    rows = {row["identifier"]: row for row in rows_in(make_job())}
    own = ("identifier", "source_stamp")
    original, copied = ({k: v for k, v in rows[name].items() if k not in own} for name in ("1.png", "copy.png"))
    assert copied == original


def test_changed_content_and_other_settings_are_done_again(make_job: MakeJob, pictures: Path) -> None:
    run_here(make_job())
    write_picture(pictures / "2.png", 99)
    assert run_here(make_job())["done"] == 1
    other = make_job()
    other.settings = replace(other.settings, burden_threshold=0.2)
    assert run_here(other)["done"] == 5
    keys = {(row["identifier"], row["content_sha256"], row["settings_sha256"]) for row in rows_in(other)}
    assert len(keys) == len(rows_in(other)) == 7 + 1 + 7


def test_what_cannot_be_read_now_is_tried_again(make_job: MakeJob, pictures: Path) -> None:
    path = pictures / "list.txt"
    path.write_text("0.png\nlater.png\n# a comment\n\n0.png\n")
    assert run_here(make_job(path)) | {"bytes": 0} == _counts(done=1, unread=1)
    assert [row["status"] for row in rows_in(make_job())] == ["done", "unread"]
    assert run_here(make_job(path))["unread"] == 1 and len(rows_in(make_job())) == 2
    write_picture(pictures / "later.png", 7)
    assert run_here(make_job(path))["done"] == 1
    assert [row["status"] for row in rows_in(make_job())] == ["done", "done"]


def test_failed_files_are_tried_again_where_that_is_asked_for(make_job: MakeJob) -> None:
    run_here(make_job())
    assert run_here(make_job(), retry_failed=True)["failed"] == 2
    assert len(rows_in(make_job())) == 7


def test_a_run_that_stops_at_any_chunk_goes_on(make_job: MakeJob) -> None:
    job = make_job()
    with job.parts.writer():
        new, (read, run, store) = job.prepare()
        store(run(read(new[:3])))
        work = run(read(new[3:5]))
        store(work)
        store(work)  # a task that ran twice
    assert len(rows_in(job)) == 5
    run_here(make_job(), chunk=2)
    rows = rows_in(job)
    assert len(rows) == len({row["identifier"] for row in rows}) == 7


def test_a_task_of_an_earlier_run_writes_nothing(make_job: MakeJob) -> None:
    old, now = make_job(), make_job()
    with old.parts.writer():
        new, (read, run, store) = old.prepare()
        work = run(read(new[:3]))
    with now.parts.writer(), pytest.raises(InputError, match="another run has begun"):
        store(work)
    assert old.parts.paths() == [] and not list(old.parts.images.iterdir())


def test_two_runs_do_not_write_into_one_folder(make_job: MakeJob) -> None:
    with make_job().parts.writer(), pytest.raises(InputError, match="no other run"), make_job().parts.writer():
        pass


def test_one_bad_image_does_not_spoil_its_batch(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job()
    with job.parts.writer():
        new, (read, run, store) = job.prepare()
        pipeline, bad = run.pipeline, read(new[:1])[0].prepared

        def failing(batch: list) -> list:
            if any((one.image == bad.image).all() for one in batch):
                raise RuntimeError("Doe^Jane")
            return pipeline(batch)

        monkeypatch.setattr(run, "_pipeline", failing)
        store(run(read(new[:4])))
    rows = rows_in(job)
    assert [row["status"] for row in rows] == ["failed", "done", "done", "done"]
    assert "Jane" not in json.dumps(rows)


def test_other_weights_than_those_of_the_driver_are_refused(settings, tmp_path: Path) -> None:
    other = write_decomposer(tmp_path, seed=1)
    with pytest.raises(InputError, match="expected the same file everywhere"):
        replace(settings, weights={"decomposer": str(other)}).load()


def test_a_missing_extra_is_told_in_one_line(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"ray is not installed; pip install 'monai-dgm\[archive\]'"):
        make_job()


def test_a_source_without_radiographs(make_job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        make_job(tmp_path / "nowhere").images()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="found none"):
        make_job(tmp_path / "empty").images()


def test_an_address_of_fsspec(make_job: MakeJob, pictures: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in sorted(pictures.glob("*.png")):
        memory.pipe_file(f"/radiographs/{path.name}", path.read_bytes())
    job = make_job("memory://radiographs")
    assert run_here(job)["done"] == 4
    assert [row["identifier"] for row in rows_in(job)] == ["0.png", "1.png", "2.png", "3.png", "broken.png"]
    assert run_here(make_job("memory://radiographs")) == {}


def test_the_estimate_keeps_nothing(make_job: MakeJob) -> None:
    job = make_job()
    images = job.images()
    new, (read, run, _) = job.new_ones(images)
    found = estimate(new, len(images), read, run, job.chunk, workers=2)
    assert (found.listed, found.new, found.sampled, found.failed) == (7, 7, 7, 2)
    assert found.seconds_per_image > 0 and found.parquet_bytes > 0 and found.object_bytes == 0
    assert not job.parts.folder.exists()


def _counts(**known: int) -> dict[str, int]:
    return {"done": 0, "failed": 0, "unread": 0, "unsent": 0, "same": 0, "bytes": 0, **known}
