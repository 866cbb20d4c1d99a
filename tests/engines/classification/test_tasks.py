"""Labels of a task, splits that can be trained on, and the decomposer whose residues are used."""

from __future__ import annotations

from typing import Any

import pytest

from monai_dgm.data.sources import Splits
from monai_dgm.engines.classification import tasks
from monai_dgm.errors import InputError

CATEGORIES = ("normal", "lung_opacity", "other_abnormal", "normal")


def datalist(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "image": f"{i}.png",
            "image_id": str(i),
            "patient_id": f"p{i // 2}",
            "category": CATEGORIES[i % 4],
            "label": int(CATEGORIES[i % 4] != "normal"),
        }
        for i in range(first, first + count)
    ]


def splits(training: int = 40) -> Splits:
    return Splits(datalist(training), datalist(8, 1000), datalist(8, 2000), "a test")


def test_labels_of_the_tasks() -> None:
    items = datalist(4)
    assert [item["label"] for item in tasks.task_datalist(items, "abnormality")] == [0, 1, 1, 0]
    assert [item["label"] for item in tasks.task_datalist(items, "opacity")] == [0, 1, 0, 0]
    assert [item["label"] for item in items] == [0, 1, 1, 0]  # the data itself is left alone


def test_what_a_task_cannot_label_is_named() -> None:
    with pytest.raises(InputError, match="task: expected one of abnormality, opacity, got 'pneumonia'"):
        tasks.task_datalist(datalist(1), "pneumonia")
    with pytest.raises(InputError, match=r"0\.png: expected a category for the task opacity, got none"):
        tasks.task_datalist([{"image": "0.png", "label": 1}], "opacity")
    with pytest.raises(InputError, match=r"0\.png: expected a label for the task abnormality"):
        tasks.task_datalist([{"image": "0.png"}], "abnormality")


def test_few_normals_are_kept_with_all_others_and_the_other_splits_untouched() -> None:
    whole = tasks.task_splits(splits(), "abnormality")
    few = tasks.task_splits(splits(), "abnormality", max_normals=5, seed=1)
    assert sum(item["label"] == 0 for item in whole.training) == 20
    assert sum(item["label"] == 0 for item in few.training) == 5
    assert [i for i in few.training if i["label"]] == [i for i in whole.training if i["label"]]
    assert few.validation == whole.validation and few.test == whole.test
    assert few.description == "a test, with 5 images without abnormal to train on"
    again, other = (tasks.task_splits(splits(), "abnormality", 5, seed).training for seed in (1, 2))
    assert again == few.training != other
    assert tasks.task_splits(splits(), "abnormality", 1000).training == whole.training


def test_images_of_a_patient_are_kept_together_as_far_as_the_number_allows() -> None:
    both = [{**item, "label": 0, "category": "normal"} for item in datalist(20)] + datalist(4, 100)
    kept = tasks.task_splits(Splits(both, datalist(8, 1000), [], ""), "abnormality", max_normals=6).training
    patients = [item["patient_id"] for item in kept if item["label"] == 0]
    assert len(patients) == 6 and len(set(patients)) == 3 + any(name in patients for name in ("p50", "p51"))


@pytest.mark.parametrize(("part", "keep"), [("training", 0), ("training", 1), ("validation", 0), ("validation", 1)])
def test_a_split_of_one_label_is_named(part: str, keep: int) -> None:
    whole = splits()
    parts = {"training": whole.training, "validation": whole.validation, "test": whole.test, "description": ""}
    parts[part] = [item for item in parts[part] if item["label"] == keep]
    lacking = "abnormal" if keep == 0 else "normal"
    with pytest.raises(InputError, match=f"{part}: expected images of both labels .* got no {lacking} one"):
        tasks.task_splits(Splits(**parts), "abnormality")  # type: ignore[arg-type]
