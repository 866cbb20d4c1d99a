"""Panels while training: the same few images after every validation, in files and in TensorBoard."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from ignite.engine import Engine, Events
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_dgm.handlers.panels import PanelHandler, choose_results
from monai_dgm.metrics.case_results import DecompositionResult

MakeRecord = Callable[..., DecompositionResult]


def records_of(make_record: MakeRecord, opacities: int, normals: int, others: int) -> list[DecompositionResult]:
    kinds = ["lung_opacity"] * opacities + ["normal"] * normals + ["other_abnormal"] * others
    return [make_record(f"{number:03d}", kind) for number, kind in enumerate(kinds)]


@pytest.mark.parametrize("count", [1, 2, 5, 6, 12, 40])
@pytest.mark.parametrize("sizes", [(8, 8, 8), (0, 5, 0), (9, 0, 0), (1, 0, 7), (0, 0, 0), (2, 20, 1)])
def test_as_many_as_there_are_each_once(make_record: MakeRecord, count: int, sizes: tuple[int, int, int]) -> None:
    records = records_of(make_record, *sizes)
    chosen = [record.image_id for record in choose_results(records, count)]
    assert len(chosen) == len(set(chosen)) == min(count, len(records))


def test_half_with_opacities_then_normals_and_others(make_record: MakeRecord) -> None:
    chosen = choose_results(records_of(make_record, 8, 8, 8), 8)
    assert [record.category for record in chosen].count("lung_opacity") == 4
    assert [record.category for record in chosen].count("normal") == 2
    assert [record.category for record in chosen].count("other_abnormal") == 2


def test_choice_does_not_depend_on_the_order(make_record: MakeRecord) -> None:
    records = records_of(make_record, 6, 6, 6)
    first = [record.image_id for record in choose_results(records, 7)]
    random.Random(1).shuffle(records)
    assert [record.image_id for record in choose_results(records, 7)] == first


def test_writes_a_picture_an_epoch_and_shows_it_in_tensorboard(metrics: SimpleNamespace, tmp_path: Path) -> None:
    engine = Engine(lambda *_: None)
    PanelHandler(metrics, tmp_path, count=2).attach(engine)

    def numbered(engine: Engine) -> None:  # a validator's epoch is its trainer's
        engine.state.epoch = 7

    engine.add_event_handler(Events.EPOCH_STARTED, numbered)
    engine.run([0], max_epochs=1)
    with Image.open(tmp_path / "panel_0007.png") as picture:
        size = picture.size
    events = EventAccumulator(str(tmp_path)).Reload()
    (shown,) = events.Images("decomposition")
    assert shown.step == 7 and (shown.width, shown.height) == size
