from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.active_learning.image_scores import ImageScores
from monai_dgm.labelling.active_learning.score_store import ScoreStore
from monai_dgm.labelling.active_learning.strategies import SCORES, STRATEGIES, select_images


def scores(name: str, version: str = "1", value: float = 0.5) -> ImageScores:
    feature = np.random.default_rng(abs(hash(name)) % 1000).normal(size=6).astype(np.float32)
    return ImageScores(name, version, value / 2, value, 1 - value, feature, "e1")


def same(first: ImageScores | None, second: ImageScores) -> bool:
    assert first is not None and first.features is not None and second.features is not None
    np.testing.assert_array_equal(first.features, second.features)
    names = ("image_id", "model_version", *SCORES, "feature_version")
    return all(getattr(first, name) == getattr(second, name) for name in names)


def test_scores_are_kept_and_replaced(tmp_path: Path) -> None:
    store = ScoreStore(tmp_path / "new" / "scores.db")
    store.put([scores("b"), scores("a")])
    again = ScoreStore(store.path)
    assert same(again.get("a"), scores("a")) and again.get("c") is None
    assert [item.image_id for item in again.all()] == ["a", "b"]
    again.put(scores("a", "2", 0.9))
    assert same(store.get("a"), scores("a", "2", 0.9)) and len(store.all()) == 2
    store.put(ImageScores("bare", "1"))
    assert store.get("bare") is not None and store.get("bare").features is None


def test_only_new_images_and_those_of_another_model_are_missing(tmp_path: Path) -> None:
    store = ScoreStore(tmp_path / "scores.db")
    names = ["d", "a", "c", "b", "a"]
    assert store.missing(names, "1") == ["d", "a", "c", "b"]
    store.put([scores("a"), scores("c")])
    assert store.missing(names, "1") == ["d", "b"]
    assert store.missing(names, "2") == ["d", "b", "a", "c"]  # never scored first
    store.put(scores("a", "2"))
    assert store.missing(names, "2") == ["d", "b", "c"]
    store.forget(["a", "nothing"])
    assert store.missing(["a"], "2") == ["a"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_next_images_are_the_selection_from_what_is_not_labelled(tmp_path: Path, strategy: str) -> None:
    store = ScoreStore(tmp_path / "scores.db")
    pool = [scores(f"{i:02d}", value=(i * 7 % 20) / 20) for i in range(20)]
    store.put(pool)
    done = ["03", "17", "not scored"]
    rest = [item for item in pool if item.image_id not in done]
    expected = select_images(rest, 5, strategy, [pool[3], pool[17]], seed=4)
    assert store.next_images(strategy, 5, exclude=done, seed=4) == expected
    assert store.next_images(strategy, 1, exclude=done, seed=4) == expected[:1]


def test_images_never_scored_can_be_chosen_too_at_last(tmp_path: Path) -> None:
    store = ScoreStore(tmp_path / "scores.db")
    assert store.next_images() == []
    cold = store.next_images(n=3, candidates=["x", "y", "z"], strategy="uncertainty")
    assert sorted(cold) == ["x", "y", "z"]
    store.put(scores("m", value=0.1))
    assert store.next_images(n=9, candidates=["x", "y", "z", "m"], strategy="uncertainty") == ["m", *cold]
    assert store.next_images(n=9, candidates=["x"]) == ["x"]


def test_what_another_process_changes_is_seen(tmp_path: Path) -> None:
    store, other = (ScoreStore(tmp_path / "scores.db") for _ in range(2))
    for step in range(60):
        name = f"{step * 7 % 11}"
        if step % 4 == 3:
            other.forget([name, "nothing"])
        else:
            (store if step % 3 else other).put(scores(name, str(step), step / 60))
        again = ScoreStore(store.path).all()
        for one in (store, other):
            assert len(one.all()) == len(again) and all(map(same, one.all(), again))


@pytest.mark.parametrize(
    "wrong",
    [
        ImageScores("", "1"),
        ImageScores("a\0", "1"),
        ImageScores("a", ""),
        ImageScores("a", "1", feature_version="a\nb"),
        ImageScores("a", "1", float("nan")),
        ImageScores("a", "1", 0.5, float("inf")),
        ImageScores("a", "1", features=np.array([np.nan], dtype=np.float32)),
        ImageScores("a", "1", features=np.zeros((2, 2), dtype=np.float32)),
        ImageScores("a", "1", features=np.zeros(0, dtype=np.float32)),
    ],
)
def test_scores_that_are_none_are_refused_and_nothing_is_kept(tmp_path: Path, wrong: ImageScores) -> None:
    store = ScoreStore(tmp_path / "scores.db")
    with pytest.raises(InputError, match="expected"):
        store.put([scores("good"), wrong])
    assert store.all() == []


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "scores.db").write_bytes(b"no database" * 100)
    with pytest.raises(InputError, match=r"scores\.db.*delete it"):
        ScoreStore(tmp_path / "scores.db")


def _put_many(path: str, prefix: str) -> None:
    store = ScoreStore(path)
    for number in range(20):
        store.put(ImageScores(f"{prefix}{number}", "1", 0.5))


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "scores.db")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_put_many, args=(path, prefix)) for prefix in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert len(ScoreStore(path).all()) == 40


WRITER = """
import sys
from monai_dgm.labelling.active_learning.image_scores import ImageScores
from monai_dgm.labelling.active_learning.score_store import ScoreStore
store = ScoreStore(sys.argv[1])
for number in range(10**6):
    store.put([ImageScores(f"{number}-{part}", "1", 0.5) for part in range(50)])
    print(number, flush=True)
"""


def test_kill_9_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    path = tmp_path / "scores.db"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    lines = [writer.stdout.readline() for _ in range(5)]
    os.kill(writer.pid, signal.SIGKILL)
    lines += writer.communicate()[0].split("\n")[:-1]
    kept = {item.image_id for item in ScoreStore(path).all()}
    assert len(kept) % 50 == 0  # a batch is there as a whole, or not at all
    assert {f"{int(line)}-{part}" for line in lines for part in range(50)} <= kept
