"""Classifies the radiographs of a file, a folder or a datalist into one JSON file; bad files stop nobody."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from monai_dgm.engines.classification.data import TASKS
from monai_dgm.engines.decomposition.decompose import PreparedRadiograph, stack_images
from monai_dgm.engines.decomposition.inference import SCORES_FILE
from monai_dgm.engines.file_run import FileRun, PrepareAlone
from monai_dgm.engines.residues.decomposed_network import DecomposedNetwork
from monai_dgm.errors import InputError

__all__ = ["class_probabilities", "classify_files"]


def classify_files(
    datalist: str | os.PathLike[str] | Sequence[Mapping[str, Any]],
    network: DecomposedNetwork,
    output_dir: str | os.PathLike[str],
    settings: Mapping[str, Any],
    device: torch.device | str = "cpu",
    batch_size: int = 4,
    num_workers: int = 0,
    model_file: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Classify radiographs and write ``output_dir/scores.json``.

    Args:
        datalist: a file, a folder (searched with its subfolders), or dicts with "image" (path) and "image_id".
        network: to logits (B, 1), in evaluation mode, on ``device``.
        output_dir: made when missing.
        settings: of the classifier: "task", "image_size", and "threshold" where one was chosen on validation images.
        device: where the network is.
        batch_size: radiographs that it takes at once.
        num_workers: processes that read files; 0 reads in this one.
        model_file: the classifier's weights; their name and SHA-256 go into the file.

    Returns:
        What scores.json holds: "images" (image_id, file, "<task>_probability", "called": the class by the threshold or
        None, "remarks": why this may be no frontal chest radiograph), "failed", "model", "task", "threshold".

    Raises:
        InputError: nothing to classify, a folder that cannot be written, scores that are not finite; or when no file
            could be classified (scores.json then lists the reasons).
    """
    task, threshold = str(settings["task"]), settings.get("threshold")
    run = FileRun(datalist, output_dir, SCORES_FILE, done="classified")
    for batch in run.batches(PrepareAlone(int(settings["image_size"])), batch_size, num_workers):
        probabilities = class_probabilities(network, [loaded.value[0] for loaded in batch], device)
        for loaded, probability in zip(batch, probabilities, strict=True):
            called = None if threshold is None else TASKS[task][0 if probability >= threshold else 1]
            scores = {f"{task}_probability": round(probability, 6), "called": called}
            run.add(loaded.place, {**scores, "remarks": list(loaded.value[1])})
    return run.write(model_file, task=task, threshold=threshold)


def class_probabilities(
    network: DecomposedNetwork, radiographs: Sequence[PreparedRadiograph], device: torch.device | str = "cpu"
) -> list[float]:
    """Probability of label 1 of each radiograph, prepared at the classifier's side.

    Raises:
        InputError: NaN or infinity from the network.
    """
    if not radiographs:
        return []
    image = stack_images(radiographs, device)
    with torch.inference_mode():
        logits = network(image, [prepared.geometry for prepared in radiographs])
    if not torch.isfinite(logits).all():
        raise InputError("expected finite values from the classifier, got NaN or infinity: are the weights sound?")
    return torch.sigmoid(logits.double())[:, 0].cpu().tolist()
