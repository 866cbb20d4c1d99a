from __future__ import annotations

from typing import Any

import numpy as np

from monai_dgm.labelling.labels.corrections import training_datalist

BOX, OTHER = [10, 20, 60, 80], [100, 20, 160, 80]


def item(image_id: str, category: str = "normal", **more: Any) -> dict[str, Any]:
    drawn = np.array([OTHER], dtype=np.float32) if category == "lung_opacity" else np.zeros((0, 4), dtype=np.float32)
    known = {"image": f"/{image_id}.png", "patient_id": f"p{image_id}", "opacity_boxes": drawn, "opacity_mask": "m.png"}
    return {**known, "image_id": image_id, "category": category, "label": int(category != "normal"), **more}


def test_consensus_takes_the_place_of_what_the_data_set_says(make_label: Any) -> None:
    datalist = [item("a"), item("b", "lung_opacity", fold=3), item("c", "other_abnormal"), item("d", "lung_opacity")]
    labels = [
        make_label([BOX], image_id="a", reader="x"),
        make_label([BOX], image_id="a", reader="y"),
        make_label([], image_id="b"),
        make_label([], image_id="c"),
    ]
    result = training_datalist(reversed(labels), datalist)
    assert [entry["image_id"] for entry in result.datalist] == ["a", "b", "c"]
    a, b, c = result.datalist
    np.testing.assert_array_equal(a["opacity_boxes"], [BOX])
    np.testing.assert_array_equal(a["agreement"], [1.0])
    assert a["opacity_boxes"].dtype == np.float32 and a["num_readers"] == 2
    assert (a["category"], a["label"], a["label_source"], a["image"]) == ("lung_opacity", 1, "readers", "/a.png")
    assert (b["category"], b["label"], b["fold"], b["opacity_boxes"].shape) == ("normal", 0, 3, (0, 4))
    assert (c["category"], c["label"]) == ("other_abnormal", 1)  # no opacity does not make it normal
    assert all(entry["opacity_mask"] is None for entry in result.datalist)
    assert datalist[0]["category"] == "normal"  # the data set itself is left as it was
    expected = {"images": 3, "with_boxes": 1, "no_finding": 2, "boxes": 1, "labels": 4, "readers": 3}
    assert result.counts == {**expected, "disputed": 0, "unusable": 0, "dropped_boxes": 0}
    assert result.left_out == []


def test_disputes_and_unknown_images_are_left_out_and_counted(make_label: Any) -> None:
    labels = [
        make_label([BOX], image_id="a", reader="x"),
        make_label([OTHER], image_id="a", reader="y"),
        make_label([[70, 0, 90, 20]], image_id="a", reader="z"),
        make_label([BOX], image_id="b", reader="x"),
        make_label([BOX], image_id="b", reader="y", size=(300, 300)),
        make_label([BOX], image_id="nowhere"),
    ]
    result = training_datalist(labels, [item("a"), item("b")])
    assert result.datalist == []
    assert {name for name, _ in result.left_out} == {"a", "b", "nowhere"}
    counted = {name: result.counts[name] for name in ("images", "disputed", "unusable", "dropped_boxes")}
    assert counted == {"images": 0, "disputed": 1, "unusable": 2, "dropped_boxes": 3}


def test_the_order_of_labels_changes_nothing(make_label: Any) -> None:
    rng = np.random.default_rng(0)
    labels = [make_label([BOX + rng.integers(0, 8, 4)], image_id=i, reader=r) for i in "abc" for r in "xyz"]
    datalist = [item(i) for i in "abc"]
    first = training_datalist(labels, datalist)
    for _ in range(5):
        again = training_datalist([labels[i] for i in rng.permutation(len(labels))], datalist)
        assert again.counts == first.counts
        for ours, theirs in zip(again.datalist, first.datalist, strict=True):
            np.testing.assert_array_equal(ours["opacity_boxes"], theirs["opacity_boxes"])


def test_weights_and_agreement_reach_the_consensus(make_label: Any) -> None:
    labels = [make_label([BOX], image_id="a", reader="x"), make_label([], image_id="a", reader="y")]
    assert training_datalist(labels, [item("a")]).counts["with_boxes"] == 1
    assert training_datalist(labels, [item("a")], weights={"y": 3.0}).counts["no_finding"] == 1
    assert training_datalist(labels, [item("a")], min_agreement=0.9).counts["disputed"] == 1
