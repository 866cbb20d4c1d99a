from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.consensus import consensus_of, fuse_boxes
from monai_dgm.labelling.labels.image_label import make_boxes

LEFT = np.array([10.0, 20, 60, 80])
RIGHT = np.array([110.0, 30, 170, 90])


def overlap(a: Any, b: Any) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height)


def solovyev(boxes: list[list[float]], confidences: list[float], threshold: float) -> list[tuple[list[float], float]]:
    """Steps 1 to 6 of section 3 of the paper, as they stand there, for boxes in the order of their confidences."""
    clusters: list[list[int]] = []
    fused: list[list[float]] = []
    for place, box in sorted(enumerate(boxes), key=lambda pair: -confidences[pair[0]]):
        found = [overlap(other, box) for other in fused]
        if found and max(found) > threshold:
            cluster = found.index(max(found))
            clusters[cluster].append(place)
        else:
            cluster = len(clusters)
            clusters.append([place])
            fused.append(box)
        total = sum(confidences[i] for i in clusters[cluster])
        fused[cluster] = [sum(confidences[i] * boxes[i][k] for i in clusters[cluster]) / total for k in range(4)]
    return [(box, sum(confidences[i] for i in cluster)) for box, cluster in zip(fused, clusters, strict=True)]


@pytest.mark.parametrize("seed", range(20))
def test_fusion_is_that_of_the_paper_when_each_reader_has_another_weight(seed: int) -> None:
    rng = np.random.default_rng(seed)
    readers = [f"reader {i}" for i in range(5)]
    weights = dict(zip(readers, rng.uniform(0.2, 1, 5), strict=True))
    drawn = [(name, (base + rng.normal(0, 8, 4)).tolist()) for name in readers for base in (LEFT, RIGHT)]
    drawn = [pair for pair in drawn if rng.random() < 0.8]
    names, boxes = [name for name, _ in drawn], [box for _, box in drawn]
    ours = fuse_boxes(boxes, names, weights)
    # a reader's two boxes are far apart, so that their order among each other does not matter
    theirs = solovyev(boxes, [weights[name] for name in names], 0.55)
    assert len(ours.boxes) == len(theirs)
    theirs.sort(key=lambda pair: -pair[1])
    np.testing.assert_allclose(ours.agreement, [sum_ / sum(weights.values()) for _, sum_ in theirs], rtol=1e-9)
    np.testing.assert_allclose(ours.boxes, [box for box, _ in theirs], rtol=1e-6)


def test_the_order_of_readers_and_boxes_changes_nothing(make_label: Any) -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        drawn = {name: rng.permutation([LEFT, RIGHT]) + rng.integers(0, 12, (2, 4)) for name in "abcd"}
        results = []
        for order in itertools.permutations("abcd"):
            labels = [make_label(rng.permutation(drawn[name]), reader=name) for name in order]
            results.append(consensus_of(labels, min_agreement=0.01))
        for result in results[1:]:
            np.testing.assert_array_equal(result.boxes, results[0].boxes)
            np.testing.assert_array_equal(result.agreement, results[0].agreement)


def test_no_box_is_thrown_away() -> None:
    rng = np.random.default_rng(1)
    boxes = rng.uniform(0, 50, (40, 4))
    boxes[:, 2:] += boxes[:, :2] + 5
    readers = [f"{i % 4}" for i in range(40)]
    fused = fuse_boxes(boxes, readers, dict.fromkeys(readers, 1.0))
    assert sorted(i for cluster in fused.members for i in cluster) == list(range(40))
    for box, cluster in zip(fused.boxes, fused.members, strict=True):
        np.testing.assert_allclose(box, boxes[list(cluster)].mean(axis=0), rtol=1e-5)


def test_equal_boxes_give_that_box_and_full_agreement(make_label: Any) -> None:
    result = consensus_of([make_label([LEFT, RIGHT], reader=name) for name in "abc"])
    assert result.status == "boxes" and result.readers == ("a", "b", "c")
    np.testing.assert_array_equal(result.agreement, [1, 1])
    np.testing.assert_array_equal(result.boxes, [LEFT, RIGHT])


def test_weights_pull_the_box_towards_the_heavier_reader(make_label: Any) -> None:
    labels = [make_label([LEFT], reader="a"), make_label([LEFT + 8], reader="b")]
    result = consensus_of(labels, {"a": 3.0})
    np.testing.assert_allclose(result.boxes, [LEFT + 2])
    assert result.agreement == [1.0]


def test_a_majority_decides_and_an_even_split_keeps_the_box(make_label: Any) -> None:
    box, nothing = make_label([LEFT], reader="a"), make_label([], reader="b")
    assert consensus_of([box, nothing]).status == "boxes"
    both = [box, nothing, make_label([], reader="c")]
    assert consensus_of(both).status == "no_finding" and len(consensus_of(both).dropped) == 1
    assert consensus_of(both, {"a": 2.0}).status == "boxes"
    assert consensus_of([box, nothing], min_agreement=0.6).status == "disputed"
    assert consensus_of([nothing]).status == "no_finding"


def test_readers_who_all_see_something_else_are_a_dispute_and_no_negative(make_label: Any) -> None:
    boxes = [LEFT, RIGHT, [70, 20, 100, 80]]
    labels = [make_label([box], reader=name) for name, box in zip("abc", boxes, strict=True)]
    result = consensus_of(labels)
    assert result.status == "disputed" and len(result.boxes) == 0 and len(result.dropped) == 3
    with pytest.raises(InputError, match="disputed"):
        result.as_label()


def test_agreement_counts_a_reader_once(make_label: Any) -> None:
    twice = make_label([LEFT, LEFT + 1], reader="a")
    result = consensus_of([twice, make_label([], reader="b")])
    np.testing.assert_array_equal(result.agreement, [0.5])


def test_the_finding_with_most_weight_names_the_box(make_label: Any) -> None:
    names = {"a": "nodule", "b": "lung_opacity", "c": None}
    labels = [make_label(make_boxes([LEFT], [name]), reader=r) for r, name in names.items()]
    assert consensus_of(labels).labels == ("lung_opacity",)
    assert consensus_of(labels, {"a": 2.0}).labels == ("nodule",)
    assert consensus_of(labels[2:]).labels == (None,)


def test_as_label_says_that_it_is_the_consensus(make_label: Any) -> None:
    label = consensus_of([make_label([LEFT], reader="a"), make_label([LEFT], reader="b")]).as_label()
    assert (label.reader, label.source, label.image_id, label.size) == ("consensus", "consensus", "image", (120, 200))
    assert consensus_of([make_label([])]).as_label().status == "no_finding"


def test_what_cannot_be_fused_is_refused(make_label: Any) -> None:
    label = make_label([LEFT])
    cases: list[tuple[list[Any], dict[str, Any], str]] = [
        ([], {}, "one image"),
        ([label, make_label([LEFT], image_id="other", reader="b")], {}, "one image"),
        ([label, make_label([LEFT], size=(130, 200), reader="b")], {}, "one image"),
        ([label, label], {}, "one label per reader"),
        ([label], {"weights": {"reader": 0.0}}, "above 0"),
        ([label], {"weights": {"reader": float("nan")}}, "above 0"),
        ([label], {"min_agreement": 0.0}, "agreement"),
    ]
    for labels, more, message in cases:
        with pytest.raises(InputError, match=message):
            consensus_of(labels, **more)
    for weights in ({}, {"reader": -1.0}):
        with pytest.raises(InputError, match="weight"):
            fuse_boxes([LEFT], ["reader"], weights)
