from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.label_store import LabelStore

BOX, OTHER = [10, 20, 60, 80], [100, 20, 160, 80]

HOSTILE = ["../../etc/passwd", "/etc/passwd", "..", ".", "a/../../b", "C:\\x", "a\\..\\b", ".lock", "x" * 256]
HOSTILE += ["~root", "%2e%2e%2f", "$(id)", "'; --", "患者 山田", "\u202eexe.png", "e\u0301", "000001.json", " "]


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_was_put_is_there_for_another_store_of_the_folder(tmp_path: Path, make_label: Any) -> None:
    label = make_label([BOX])
    assert LabelStore(tmp_path).put(label) == 1
    store = LabelStore(tmp_path)
    assert store.get("image", "reader") == label
    assert store.get("image", "nobody") is None and store.get("nothing", "reader") is None
    assert store.list() == [label] and store.list("image") == [label] and store.list("nothing") == []
    assert store.image_ids() == {"image"}


def test_a_second_reader_never_overwrites_the_first(tmp_path: Path, make_label: Any) -> None:
    store = LabelStore(tmp_path)
    first, second = make_label([BOX], reader="a"), make_label([], reader="b")
    store.put(first)
    store.put(second)
    assert store.list("image") == [first, second]


def test_what_a_reader_said_before_is_kept(tmp_path: Path, make_label: Any) -> None:
    store = LabelStore(tmp_path)
    said = [make_label([BOX]), make_label([]), make_label([BOX, OTHER]), make_label([BOX])]
    assert [store.put(label) for label in said] == [1, 2, 3, 4]
    assert store.history("image", "reader") == said
    assert store.get("image", "reader") == said[-1] and store.list() == said[-1:]


def test_the_same_once_more_adds_nothing(tmp_path: Path, make_label: Any) -> None:
    store = LabelStore(tmp_path)
    assert store.put(make_label([BOX])) == store.put(make_label([BOX])) == 1
    assert store.put(make_label([BOX], source="ohif")) == 2


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_becomes_a_path(name: str, tmp_path: Path, make_label: Any) -> None:
    store = LabelStore(tmp_path / "deep" / "labels")
    reader = "r" + name[:200]
    store.put(make_label([BOX], image_id=name, reader=reader))
    assert store.get(name, reader) == store.list(name)[0] and store.image_ids() == {name}
    written = [path for path in files_below(tmp_path) if not path.endswith(".lock")]
    assert len(written) == 1
    assert all(set(part) <= set("0123456789abcdef") for part in Path(written[0]).parts[2:4])


@pytest.mark.parametrize("name", ["", "x" * 257, "a\0b", "a\nb", "\ud800", None, 7, ["a"]])
def test_what_cannot_be_an_id_is_refused(name: Any, tmp_path: Path) -> None:
    store = LabelStore(tmp_path)
    for ask in (lambda: store.get(name, "reader"), lambda: store.get("image", name), lambda: store.history(name, "r")):
        with pytest.raises(InputError, match="expected"):
            ask()


def test_a_damaged_file_is_named_or_left_out_and_does_not_keep_labels_out(tmp_path: Path, make_label: Any) -> None:
    store = LabelStore(tmp_path)
    store.put(make_label([BOX], reader="a"))
    store.put(make_label([BOX], reader="b"))
    path = next(tmp_path.rglob("000001.json"))
    path.write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=path.name):
        store.list()
    bad: list[str] = []
    assert len(store.list(bad=bad)) == 1 and len(bad) == 1 and str(path) in bad[0]
    hurt = ({"a", "b"} - {label.reader for label in store.list(bad=[])}).pop()
    assert store.put(make_label([OTHER], reader=hurt)) == 2
    assert len(store.list()) == 2


def test_a_file_that_was_moved_to_another_reader_is_refused(tmp_path: Path, make_label: Any) -> None:
    store = LabelStore(tmp_path)
    store.put(make_label([BOX], reader="a"))
    store.put(make_label([BOX], reader="b"))
    first, second = sorted(tmp_path.rglob("000001.json"))
    second.write_bytes(first.read_bytes())
    with pytest.raises(InputError, match="folders are named after"):
        store.list()


def test_leftovers_of_a_killed_process_are_no_labels_and_go(tmp_path: Path, make_label: Any) -> None:
    store = LabelStore(tmp_path)
    store.put(make_label([BOX]))
    leftover = next(tmp_path.rglob("000001.json")).with_name(".partial-abc.json")
    leftover.write_text('{"half', encoding="utf-8")
    assert len(store.list()) == 1
    store.put(make_label([OTHER]))
    assert not leftover.exists() and len(store.history("image", "reader")) == 2


def test_threads_get_a_number_each(tmp_path: Path, make_label: Any) -> None:
    def put(place: int) -> int:
        return LabelStore(tmp_path).put(make_label([[0, 0, 10 + place, 10]]))

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(put, range(24))) == list(range(1, 25))
    assert len(LabelStore(tmp_path).history("image", "reader")) == 24


WRITER = """
import sys
from monai_dgm.labelling.labels.label_store import LabelStore
from monai_dgm.labelling.labels.image_label import ImageLabel, make_boxes
store = LabelStore(sys.argv[1])
for number in range(1, 10**6):
    boxes = make_boxes([[0, 0, number / 1000, 10 + i] for i in range(20)])
    store.put(ImageLabel("image", (120, 2000), "boxes", boxes, sys.argv[2], "slicer"))
    print(number, flush=True)
"""


def test_kill_9_loses_no_label_and_leaves_no_half_file(tmp_path: Path, make_label: Any) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), reader], stdout=subprocess.PIPE, text=True)
        for reader in ("a", "b")
    ]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == "1\n"
    time.sleep(0.3)
    answered = {}
    for writer, reader in zip(writers, ("a", "b"), strict=True):
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.communicate()[0].split("\n")  # the last line may be half
        answered[reader] = int(rest[-2]) if len(rest) > 1 else 1
    store = LabelStore(tmp_path)
    for reader, number in answered.items():
        history = store.history("image", reader)
        assert number <= len(history) <= number + 1
        assert [label.boxes[0].box[2] for label in history] == [n / 1000 for n in range(1, len(history) + 1)]
    assert store.put(make_label([BOX], reader="a")) == len(store.history("image", "a"))


def test_the_file_is_the_documented_json(tmp_path: Path, make_label: Any) -> None:
    label = make_label([BOX], reader="山田")
    LabelStore(tmp_path).put(label)
    text = next(tmp_path.rglob("000001.json")).read_text(encoding="utf-8")
    assert json.loads(text) == label.as_dict() and "山田" in text
