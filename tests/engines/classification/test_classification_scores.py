"""Scoring a classifier: whose score is whose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.engines import SupervisedEvaluator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.decomposed import DecomposedDataset
from monai_dgm.data.manifest import load_manifest
from monai_dgm.engines.classification.classification_evaluation import ClassificationScores
from monai_dgm.engines.training.supervised import PrepareTransformedBatch
from monai_dgm.errors import InputError


class Mean(nn.Module):
    """Logits that are the mean grey value, times a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, image: Tensor) -> Tensor:
        return self.scale * image.mean(dim=(1, 2, 3))[:, None]


@pytest.fixture
def dataset(sample_dir: Path, tmp_path: Path) -> DecomposedDataset:
    radiographs = RadiographDataset(load_manifest(sample_dir)[:7], 32, tmp_path / "cache")
    return DecomposedDataset(radiographs, channels=("image",))


def score(dataset: DecomposedDataset, network: nn.Module, shuffle: bool = False) -> tuple[ClassificationScores, Any]:
    scores = ClassificationScores(dataset)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(dataset, batch_size=3, shuffle=shuffle),
        network=network,
        prepare_batch=PrepareTransformedBatch(),
        key_val_metric={"auc": scores},
        decollate=False,
    )
    evaluator.run()
    return scores, evaluator.state


def test_every_image_gets_its_own_score(dataset: DecomposedDataset) -> None:
    scores, state = score(dataset, Mean())
    records = scores.results
    assert [record.image_id for record in records] == [item["image_id"] for item in dataset.items]
    assert [record.label for record in records] == [item["label"] for item in dataset.items]
    means = torch.stack([dataset[i]["image"].mean() for i in range(7)])
    torch.testing.assert_close(torch.tensor([record.score for record in records]), torch.sigmoid(means))
    above = [a > b for a in means[dataset.labels == 1] for b in means[dataset.labels == 0]]
    assert state.best_metric == pytest.approx(sum(above) / len(above))
    assert records[0].category in ("normal", "lung_opacity", "other_abnormal") and records[0].patient_id


def test_a_second_run_starts_anew(dataset: DecomposedDataset) -> None:
    scores = ClassificationScores(dataset)
    for _ in range(2):
        scores.reset()
        scores.update((torch.zeros(7, 1), dataset.labels[:, None]))
    assert len(scores.results) == 7


def test_images_in_another_order_and_logits_that_are_no_numbers_are_refused(dataset: DecomposedDataset) -> None:
    scores = ClassificationScores(dataset)
    with pytest.raises(ValueError, match="the images of the data set in their order"):
        scores.update((torch.zeros(3, 1), 1 - dataset.labels[:3, None]))
    with pytest.raises(InputError, match="expected finite values from the classifier"):
        scores.update((torch.full((3, 1), torch.nan), dataset.labels[:3, None]))
