"""Inference runs over files: MONAI's evaluator as the four bundles configure it, from Python."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from monai.data import DataLoader
from monai.engines import SupervisedEvaluator

from monai_dgm.engines.file_run import FileDataset, collate_files
from monai_dgm.engines.pipeline import PreparePipelineInput, RadiographPipeline
from monai_dgm.handlers.decomposition_saver import DecompositionSaver, DetectionSaver
from monai_dgm.handlers.result_saver import ClassificationSaver, LungMaskSaver, ResultSaver
from monai_dgm.transforms.load_radiograph import LoadRadiographd

Datalist = str | os.PathLike[str] | Sequence[Mapping[str, Any]]


def run_files(
    saver_class: type[ResultSaver],
    datalist: Datalist,
    pipeline: RadiographPipeline,
    output_dir: str | os.PathLike[str],
    batch_size: int = 4,
    num_workers: int = 0,
    preprocessing: LoadRadiographd | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Run a pipeline over files; returns what the JSON file holds."""
    files = saver_class.list_files(datalist, output_dir)
    transform = preprocessing or LoadRadiographd("image", pipeline.sides, lung_mask_key="lung_mask")
    if saver_class is DecompositionSaver:
        options["preprocessing"] = transform
    saver = saver_class(files, pipeline, **options)
    loader = DataLoader(
        FileDataset(files.items, transform),
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=collate_files,
    )
    SupervisedEvaluator(
        device=pipeline.device,
        val_data_loader=loader,
        network=pipeline,
        prepare_batch=PreparePipelineInput(),
        val_handlers=[saver],
        decollate=False,
    ).run()
    return saver.report


def decompose_files(*args: Any, **options: Any) -> dict[str, Any]:
    return run_files(DecompositionSaver, *args, **options)


def detect_files(*args: Any, **options: Any) -> dict[str, Any]:
    return run_files(DetectionSaver, *args, **options)


def classify_files(*args: Any, **options: Any) -> dict[str, Any]:
    return run_files(ClassificationSaver, *args, **options)


def segment_files(*args: Any, **options: Any) -> dict[str, Any]:
    return run_files(LungMaskSaver, *args, **options)
