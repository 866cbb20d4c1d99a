from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from monai_dgm.labelling.labels.agreement import agree, cohen_kappa, reader_agreement
from monai_dgm.labelling.labels.consensus import consensus_of
from monai_dgm.labelling.labels.image_label import ADJUDICATION, ImageLabel, make_boxes

BOX = (10.0, 10.0, 50.0, 60.0)
NEAR = (12.0, 10.0, 50.0, 60.0)
FAR_AWAY = (60.0, 60.0, 90.0, 90.0)


def label(image: str, reader: str, *boxes: tuple[float, ...], source: str = "ohif") -> ImageLabel:
    return ImageLabel(image, (100, 100), "boxes" if boxes else "no_finding", make_boxes(boxes), reader, source)


def test_kappa_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        first, second = random.random((2, 30)) < random.random()
        expected = cohen_kappa_score(first, second)
        found = cohen_kappa(first.tolist(), second.tolist())
        assert found == pytest.approx(expected) if np.isfinite(expected) else np.isnan(found)
    weights = random.integers(0, 4, 30)
    repeated = cohen_kappa(np.repeat(first, weights).tolist(), np.repeat(second, weights).tolist())
    assert cohen_kappa(first.tolist(), second.tolist(), weights.tolist()) == pytest.approx(repeated, nan_ok=True)


def test_a_pair_of_readers() -> None:
    labels = [label("a", "one", BOX), label("a", "two", NEAR), label("b", "one"), label("b", "two")]
    labels += [label("c", "one", BOX, FAR_AWAY), label("c", "two"), label("d", "one", BOX)]
    labels += [label("a", "adjudication by three", FAR_AWAY, source=ADJUDICATION)]
    (pair,) = reader_agreement(labels)
    assert pair.readers == ("one", "two") and pair.images == 3 and pair.boxes == (3, 1) and pair.matched == 1
    assert pair.same_status == pytest.approx(2 / 3)
    assert pair.kappa == pytest.approx(cohen_kappa_score([1, 0, 1], [1, 0, 0]))
    assert (
        pair.kappa_low is not None and pair.kappa_high is not None and pair.kappa_low <= pair.kappa <= pair.kappa_high
    )
    assert pair.matched_iou == pytest.approx(38 / 40) and pair.matched_share == pytest.approx(2 / 4)
    assert reader_agreement(list(reversed(labels))) == [pair]


def test_numbers_that_are_not_defined_are_none() -> None:
    (pair,) = reader_agreement([label("a", "one"), label("a", "two")])
    assert (pair.kappa, pair.kappa_low, pair.matched_iou, pair.matched_share) == (None, None, None, None)
    always = [label(name, "one", BOX) for name in "abc"] + [
        label("a", "two"),
        *(label(name, "two", BOX) for name in "bc"),
    ]
    (pair,) = reader_agreement(always)  # a reader with one answer only: kappa is 0 in each sample, which is no interval
    assert (pair.kappa, pair.kappa_low, pair.kappa_high) == (0.0, None, None)
    other_size = ImageLabel("a", (50, 50), "no_finding", (), "two", "ohif")
    assert reader_agreement([label("a", "one"), other_size]) == []


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([BOX], [NEAR], True),
        ([BOX], [FAR_AWAY], False),
        ([BOX], [], False),
        ([], [], True),
        ([BOX, FAR_AWAY], [NEAR], False),
    ],
)
def test_readers_agree_on_a_case(first: list, second: list, expected: bool) -> None:
    assert agree([label("a", "one", *first), label("a", "two", *second)]) is expected


def test_an_adjudication_is_the_consensus() -> None:
    readers = [label("a", "one", BOX), label("a", "two")]
    decided = label("a", "adjudication by three", FAR_AWAY, source=ADJUDICATION)
    consensus = consensus_of([*readers, decided])
    np.testing.assert_array_equal(consensus.boxes, [FAR_AWAY])
    assert consensus.readers == ("adjudication by three",) and consensus.agreement.tolist() == [1.0]
    none = label("a", "adjudication by four", source=ADJUDICATION)  # later
    assert consensus_of([decided, *readers, none]).status == "no_finding"
