"""The monitor: its figures against their definitions; each failure, made by hand, has its warning and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from torch import Tensor

from monai_dgm.handlers.collapse_monitor import CollapseMonitor, Window, collapse_metrics, collapse_warnings
from monai_dgm.handlers.history import TrainingHistory

WORDS = {"residue": "the residue is dying", "normal": "one normal for everybody", "head": "the head is inverted"}
WORDS |= {"blind": "D sees no difference", "perfect": "D tells real from synthesised normals perfectly"}
HEALTHY_SCORES = {"real_score_0": 0.7, "fake_score_0": 0.3, "real_score_1": 0.6, "fake_score_1": 0.4}


def output(count: int = 8, failure: str | None = None) -> dict[str, Tensor]:
    """Output of a step on patients of different brightness; y' follows them, the residue and the head find disease."""
    label = (torch.arange(count) % 2).float()
    patients = torch.rand(count, 1, 1, 1) - 0.5
    image = patients + 0.1 * torch.randn(count, 1, 32, 32)
    sick = label[:, None, None, None]
    logit = (4 * label - 2 + 0.5 * torch.randn(count))[:, None]
    scores = {name: torch.tensor(value) for name, value in HEALTHY_SCORES.items()}
    result = {"image": image, "label": label, "normal": 0.9 * patients + 0.1 * torch.randn(count, 1, 32, 32), **scores}
    result |= {"residue": (0.01 + 0.05 * sick) * torch.randn(count, 1, 32, 32), "abnormality_logit": logit}
    if failure == "residue":
        result["residue"] = 0.002 * torch.randn(count, 1, 32, 32)
    elif failure == "normal":
        result["normal"] = torch.zeros(1, 1, 32, 32).expand(count, 1, 32, 32) + 0.02 * torch.randn(count, 1, 32, 32)
    elif failure == "head":
        result["abnormality_logit"] = -logit
    elif failure == "blind":
        result |= {name: torch.tensor(0.5) for name in scores}
    elif failure == "perfect":
        result |= {name: torch.tensor(float(name.startswith("real"))) for name in scores}
    return result


def window(*outputs: dict[str, Tensor]) -> Window:
    result = Window()
    for each in outputs:
        result.add(each)
    return result


def warnings_of(*outputs: dict[str, Tensor]) -> list[str]:
    seen = window(*outputs)
    return collapse_warnings(collapse_metrics(seen), seen.mean_scores())


@pytest.mark.parametrize("failure", list(WORDS))
def test_each_failure_has_its_warning_and_no_other(failure: str) -> None:
    (warning,) = warnings_of(*(output(failure=failure) for _ in range(10)))
    assert WORDS[failure] in warning
    assert "\n" not in warning


def test_a_healthy_training_gets_none() -> None:
    for _ in range(10):
        assert warnings_of(*(output() for _ in range(10))) == []


def test_a_residue_that_ignores_the_label_is_dying_too() -> None:
    each = output()
    each["residue"] = 0.05 * torch.randn(8, 1, 32, 32)
    (warning,) = warnings_of(each)
    assert WORDS["residue"] in warning


def test_figures_are_what_they_say() -> None:
    outputs = [output(count) for count in (4, 6, 2)]
    seen = {name: torch.cat([o[name] for o in outputs]) for name in ("image", "label", "normal", "residue")}
    logit = torch.cat([o["abnormality_logit"] for o in outputs])[:, 0]
    label = seen["label"].numpy()
    size = seen["residue"].abs().flatten(1).mean(dim=1).numpy()
    positive, negative = logit[label == 1].numpy(), logit[label == 0].numpy()
    std = {}
    for name in ("image", "normal"):
        thumbnails = seen[name].numpy().reshape(12, 16, 2, 16, 2).mean(axis=(2, 4))
        std[name] = thumbnails.std(axis=0).mean()
    expected = {
        "residue_normal": size[label == 0].mean(),
        "residue_abnormal": size[label == 1].mean(),
        "head_auc": np.mean((positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)),
        "normal_std": std["normal"] / std["image"],
    }
    metrics = collapse_metrics(window(*outputs))
    assert set(metrics) == set(expected)
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, rel=1e-3), name


def test_a_class_that_is_absent_leaves_its_figures_out_and_warns_of_nothing() -> None:
    each = output()
    each["label"] = torch.ones(8)
    metrics = collapse_metrics(window(each))
    assert set(metrics) == {"residue_abnormal", "normal_std"}
    assert collapse_warnings(metrics, {}) == []


def test_a_system_without_a_head_is_watched_by_the_rest() -> None:
    outputs = [output(), output(failure="normal")]
    for one in outputs:
        del one["abnormality_logit"]
    assert "head_auc" not in collapse_metrics(window(outputs[0])) and warnings_of(outputs[0]) == []
    (warning,) = warnings_of(outputs[1])
    assert WORDS["normal"] in warning


def test_superimposed_images_do_not_count_as_abnormal() -> None:
    each = output()
    plain = collapse_metrics(window(each))
    more = {name: torch.cat((value, value)) if value.dim() else value for name, value in each.items()}
    more["superimposed"] = torch.arange(16) >= 8
    more["label"][8:] = 1
    more["residue"][8:] = 1
    metrics = collapse_metrics(window(more))
    for name in ("residue_normal", "residue_abnormal", "head_auc"):
        assert metrics[name] == pytest.approx(plain[name])


def test_scores_are_judged_by_their_mean_over_the_interval() -> None:
    outputs = [output() for _ in range(4)]
    for each in outputs[1:]:
        for name in HEALTHY_SCORES:
            del each[name]  # batches without a real image
    outputs.append(output(failure="blind"))
    means = window(*outputs).mean_scores()
    assert means == pytest.approx({name: (value + 0.5) / 2 for name, value in HEALTHY_SCORES.items()})
    assert warnings_of(*outputs) == []


def run(monitor: CollapseMonitor, stop: int, start: int = 0, failure: str | None = "head") -> None:
    def step(engine: Engine, _: Any) -> dict[str, Tensor]:
        torch.manual_seed(engine.state.iteration)
        return output(failure=failure)

    engine = Engine(step)
    monitor.attach(engine)
    engine.load_state_dict({"iteration": start, "max_epochs": 1, "epoch_length": stop})
    engine.run([0] * stop)


def test_figures_go_to_the_history_every_interval_and_warnings_come_after_the_grace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    history = TrainingHistory(None)
    monitor = CollapseMonitor(history, interval=5, grace=12)
    run(monitor, 22)
    assert [row["iteration"] for row in history.rows] == [5, 10, 15, 20]
    assert all(row["collapse/head_auc"] < 0.2 for row in history.rows)
    assert [w.split(":")[0] for w in monitor.warnings] == ["iteration 15", "iteration 20"]
    assert [record.message for record in caplog.records] == monitor.warnings


@pytest.mark.parametrize("stop", [3, 5, 8, 13])
def test_resumed_monitor_says_what_one_run_says(stop: int, tmp_path: Path) -> None:
    whole = CollapseMonitor(TrainingHistory(None), interval=5, grace=5)
    run(whole, 16)
    before = CollapseMonitor(TrainingHistory(None), interval=5, grace=5)
    run(before, stop)
    torch.save({"monitor": before.state_dict(), "history": before.history.state_dict()}, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    after = CollapseMonitor(TrainingHistory(None), interval=5, grace=5)
    held_by_a_report = after.warnings
    after.load_state_dict(state["monitor"])
    after.history.load_state_dict(state["history"])
    run(after, 16, start=stop)
    assert after.warnings == whole.warnings and len(whole.warnings) == 3
    assert after.history.rows == whole.history.rows
    assert held_by_a_report is after.warnings
