"""Which report counts, and what a reader did to a model's boxes."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from monai_dgm.labelling.dicom_objects.opacity_report import (
    OpacityReport,
    match_to_predictions,
    newest_report_per_study,
)


def a_report(study: str, day: int | None, reader: str | None = "Doe^Jane", by_us: bool = False) -> OpacityReport:
    return OpacityReport(
        sop_instance_uid=f"{study}.{day}",
        study_uid=study,
        opacities=(),
        no_opacity=True,
        images=(),
        reader=reader,
        software="a viewer",
        by_us=by_us,
        written=None if day is None else datetime(2026, 1, day),
        problems=(),
    )


def test_the_newest_of_each_study_counts_whatever_the_order() -> None:
    old, new, other = a_report("1.1", 1), a_report("1.1", 2), a_report("1.2", 1)
    for order in ([old, new, other], [other, new, old]):
        assert newest_report_per_study(order) == {"1.1": new, "1.2": other}
    assert newest_report_per_study([a_report("1.1", None), old, a_report("1.1", None)]) == {"1.1": old}
    assert newest_report_per_study([]) == {}


def test_a_prediction_never_replaces_what_a_reader_saved() -> None:
    saved, prediction = a_report("1.1", 1), a_report("1.1", 2, reader=None, by_us=True)
    unnamed = a_report("1.2", 1, reader=None)  # another viewer's, by somebody it does not name
    assert newest_report_per_study([saved, prediction, unnamed]) == {"1.1": saved, "1.2": unnamed}
    assert newest_report_per_study([saved, prediction], include_predictions=True) == {"1.1": prediction}


def test_a_negative_is_confirmed_by_a_reader_only() -> None:
    assert a_report("1.1", 1).confirmed_negative
    assert a_report("1.1", 1, by_us=True).confirmed_negative
    assert not a_report("1.1", 1, reader=None, by_us=True).confirmed_negative


def test_boxes_are_kept_moved_added_and_deleted() -> None:
    predicted = [[0, 0, 100, 100], [200, 200, 300, 300], [500, 500, 600, 600]]
    reader = [[205, 210, 310, 300], [0.5, 0, 100, 99.5], [700, 700, 800, 800]]
    changes = match_to_predictions(reader, predicted)
    assert changes.kept == ((0, 1),) and changes.moved == ((1, 0),)
    assert changes.added == (2,) and changes.deleted == (2,)


def test_the_best_pair_goes_first_and_nothing_is_used_twice() -> None:
    changes = match_to_predictions([[0, 0, 100, 100]], [[0, 0, 100, 60], [0, 0, 100, 90]], iou=0.5)
    assert changes.moved == ((1, 0),) and changes.deleted == (0,) and changes.added == ()
    rng = np.random.default_rng(0)
    for _ in range(50):
        sides = [np.sort(rng.uniform(0, 100, (rng.integers(0, 6), 2, 2)), axis=1).reshape(-1, 4) for _ in range(2)]
        changes = match_to_predictions(*sides, iou=0.1)
        paired = [*changes.kept, *changes.moved]
        assert sorted([*changes.deleted, *(i for i, _ in paired)]) == list(range(len(sides[1])))
        assert sorted([*changes.added, *(j for _, j in paired)]) == list(range(len(sides[0])))


def test_nothing_on_either_side() -> None:
    none = np.zeros((0, 4))
    assert match_to_predictions(none, [[0, 0, 1, 1]]).deleted == (0,)
    assert match_to_predictions([[0, 0, 1, 1]], []).added == (0,)
    assert match_to_predictions([], []) == match_to_predictions(none, none)
