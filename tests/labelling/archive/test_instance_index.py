"""Index and waiting images follow what changes, and are what they would be if all was looked at anew."""

from __future__ import annotations

import tempfile
from collections import Counter
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from monai_dgm.labelling.archive.archive_changes import Changes
from monai_dgm.labelling.archive.archive_state import ArchiveState
from monai_dgm.labelling.archive.archive_studies import StudyArchive
from monai_dgm.labelling.archive.instance_cache import DicomCache
from monai_dgm.labelling.archive.instance_index import ArchiveIndex
from monai_dgm.labelling.archive.sent_results import ArchiveResults
from monai_dgm.labelling.archive.wanted_images import WantedImages

Key = tuple[str, str, str]


class ListedArchive:
    """The searches of an archive, without a server: (study, series, instance) -> rows of the image."""

    max_bytes = 1

    def __init__(self) -> None:
        self.held: dict[Key, int] = {}

    def all_instances(self, filters: dict[str, str]) -> list[dict[str, Any]]:
        return [described(key, rows) for key, rows in self.held.items() if filters["Modality"] == "DX"]

    def series(self, study: str | None = None, filters: dict[str, str] | None = None) -> list[dict[str, Any]]:
        counts = Counter(key[:2] for key in self.held if study in (None, key[0]))
        wanted = filters is not None and filters["Modality"] == "DX"
        return [described((*key, ""), 1, count) for key, count in counts.items() if wanted]

    def instances(self, study: str, series: str) -> list[dict[str, Any]]:
        return [described(key, rows) for key, rows in self.held.items() if key[:2] == (study, series)]


def described(key: Key, rows: int, count: int | None = None) -> dict[str, Any]:
    values = {"0020000D": key[0], "0020000E": key[1], "00080018": key[2], "00280010": rows, "00201209": count}
    values |= {"00080020": f"202601{len(key[0]):02}"}
    return {tag: {"Value": [value]} for tag, value in values.items() if value is not None}


uids = st.integers(1, 4).map(lambda number: f"1.{number}")
keys = st.tuples(uids, uids, uids)
actions = st.lists(
    st.tuples(st.sampled_from(["put", "put", "delete", "replace"]), keys, st.integers(1, 3)), max_size=25
)


def fresh_index(client: ListedArchive) -> ArchiveIndex:
    index = ArchiveIndex(client, WantedImages())  # type: ignore[arg-type]
    index.refresh()
    return index


@settings(max_examples=60, deadline=None)
@given(actions)
def test_the_index_after_any_changes_is_that_of_a_new_listing(steps: list[tuple[str, Key, int]]) -> None:
    client = ListedArchive()
    index = fresh_index(client)
    for number, (action, key, rows) in enumerate(steps):
        before, changes = dict(index.instances), index.changes
        copies = {item.uids for study in range(1, 5) for item in index.of_study(f"1.{study}")}
        if action == "delete":
            client.held.pop(key, None)
        else:
            client.held[key] = rows
        gone = index.refresh() if number % 7 == 6 and action != "replace" else index.refresh_study(key[0])
        expected = fresh_index(client)
        if action == "replace" or client.held.get(key) == rows:  # a listing sees a new number of instances alone
            index.refresh_study(key[0])
        assert index.instances == expected.instances
        for study in range(1, 5):
            found = {item.uids for item in index.of_study(f"1.{study}")}
            assert found == {item.uids for item in expected.of_study(f"1.{study}")}
        now = {item.uids for study in range(1, 5) for item in index.of_study(f"1.{study}")}
        assert {item.uids for item in gone} == copies - now
        differing = {uid for uid in before.keys() | index.instances if before.get(uid) != index.instances.get(uid)}
        assert sorted(index.changed_since(changes)) == sorted(differing & index.instances.keys())
        assert (index.changes > changes) == bool(differing)
        assert sorted(index.changed_since(0)) == sorted(index.instances)  # no more is kept, however much has changed
        for item in index.instances.values():
            assert index.study_of_orthanc(item.orthanc_id) == item.uids.study


def make_results(client: ListedArchive, folder: str) -> ArchiveResults:
    """Results of an archive whose models, labels and images are plain values that a test changes."""
    archive = StudyArchive(client, DicomCache(f"{folder}/cache", 1))  # type: ignore[arg-type]
    models = SimpleNamespace(has=lambda name: True, versions=lambda: {"decomposer": "1"})
    labelled: set[str] = set()
    submissions = SimpleNamespace(labelled=lambda: labelled)
    state = ArchiveState(f"{folder}/a.sqlite")
    return ArchiveResults(SimpleNamespace(models=models), archive, submissions, state)  # type: ignore[arg-type]


events = st.tuples(
    st.sampled_from(["put", "put", "delete", "replace", "label", "unlabel", "send", "retry", "train"]), keys
)


@settings(max_examples=15, deadline=None)
@given(st.lists(events, max_size=20))
def test_waiting_images_after_any_changes_are_those_of_a_look_at_all(steps: list[tuple[str, Key]]) -> None:
    client = ListedArchive()
    with tempfile.TemporaryDirectory() as folder:
        results = make_results(client, folder)
        results.archive.refresh()
        for action, key in steps:
            labelled = results.submissions.labelled()
            if action == "put":
                client.held[key] = 1
                results.archive.apply(Changes(studies={key[0]}))
            elif action == "delete":
                client.held.pop(key, None)
                results.archive.apply(Changes(studies={key[0]}))
            elif action == "replace":
                replaced = results.archive.apply(Changes(studies={key[0]}, replaced={key[2]}))
                results.state.mark_replaced(replaced)
            elif action == "label":
                labelled.add(key[2])
            elif action == "unlabel":
                labelled.discard(key[2])
            elif action == "send":
                results.state.store_result(key[2], results.version(), "failed" if key[0] == "1.1" else "sent")
            elif action == "retry":
                results.state.retry()
            else:
                results.analysis.models.versions = lambda version=key[2]: {"decomposer": version}
            anew = ArchiveResults(results.analysis, results.archive, results.submissions, results.state)
            assert results.pending() == anew.pending()
            done = {name for name in results.archive.instances() if name not in set(anew.pending()) | labelled}
            assert results.state.pending(done, results.version()) == []
