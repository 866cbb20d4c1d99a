"""The radiographs of a training in one folder, small enough to carry, and how they are drawn."""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from monai_dgm.engines.training.resident import ResidentRadiographs

SOURCES = ("nih", "rsna_normal", "siim_fisabio", "montgomery", "shenzhen", "covid_case_reports")
PARTS = ("training", "validation")
HELD_OUT, SMALL_SIZE = "held_out", 128  # images of the test fold, for trainings with another one as the test fold


def pack(arguments: argparse.Namespace) -> None:
    """Write the training and validation images of a folder, as they are trained on, with what is known of them.

    Those of the test fold are written beside them, small: no training reads them that is tested on them.
    """
    from monai_dgm.data.dataset import RadiographDataset
    from monai_dgm.data.known_truth import describe_items
    from monai_dgm.data.sources import load_splits
    from monai_dgm.engines.lungs.segmentor import load_lung_segmentor

    output = Path(arguments.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    splits = load_splits(arguments.dataset_dir, output / "sample", fold=arguments.fold)
    segmentor = load_lung_segmentor(arguments.lungs)
    for part in (*PARTS, HELD_OUT):
        items, size = (splits.test, SMALL_SIZE) if part == HELD_OUT else (getattr(splits, part), arguments.size)
        dataset = RadiographDataset(items, size, arguments.cache_dir or output / "cache")
        boxes = [
            geometry.boxes_to_model(item["opacity_boxes"])
            for item, geometry in zip(dataset.items, dataset.geometries, strict=True)
        ]
        lungs = []
        with torch.inference_mode():
            for first in range(0, len(dataset), 32):
                masks = segmentor.masks(dataset.images_as_tensor(range(first, min(first + 32, len(dataset)))))
                small = nn.functional.adaptive_avg_pool2d(torch.from_numpy(masks)[:, None].float(), 56)
                lungs.append(small[:, 0].numpy() > 0.5)
        blobs = [_encode((dataset.images[i] / 257).round().astype(np.uint8)) for i in range(len(dataset))]
        (output / f"{part}.bin").write_bytes(b"".join(blobs))
        known = describe_items(dataset.items, boxes, SOURCES)
        np.savez_compressed(
            output / f"{part}.npz", lungs=np.packbits(np.concatenate(lungs), axis=-1),
            ends=np.cumsum([len(blob) for blob in blobs]), fold=[item["fold"] for item in dataset.items], **known,
        )  # fmt: skip
        print(part, len(dataset), "images", round(sum(map(len, blobs)) / 1e6, 1), "MB", flush=True)


def _encode(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).convert("RGB").save(stream, "WEBP", quality=90, method=6)
    return stream.getvalue()


def load_pack(folder: str | Path, part: str) -> ResidentRadiographs:
    """What :func:`pack` wrote."""
    return _load(folder, part)[0]


def load_folds(folder: str | Path, test_fold: int, size: int = SMALL_SIZE) -> tuple[ResidentRadiographs, ...]:
    """All images but those of one fold, and those of it, at a smaller size."""
    parts = [_load(folder, part) for part in (*PARTS, HELD_OUT)]
    most = max(data.boxes.shape[1] for data, _ in parts)
    columns: dict[str, list[Tensor]] = {field.name: [] for field in fields(ResidentRadiographs)}
    for data, _ in parts:
        factor = size / data.images.shape[-1]
        if factor != 1:
            shrunk = nn.functional.interpolate(data.images.float(), size=(size, size), mode="bilinear", antialias=True)
            data = replace(data, images=shrunk.round().to(torch.uint8), boxes=data.boxes * factor)
        data = replace(data, boxes=nn.functional.pad(data.boxes, (0, 0, 0, most - data.boxes.shape[1])))
        for name, column in columns.items():
            column.append(getattr(data, name))
    every = ResidentRadiographs(**{name: torch.cat(column) for name, column in columns.items()})
    own = torch.cat([fold for _, fold in parts]) == test_fold
    return every.take(~own), every.take(own)


def _load(folder: str | Path, part: str) -> tuple[ResidentRadiographs, Tensor]:
    arrays = dict(np.load(Path(folder) / f"{part}.npz"))
    fold = torch.from_numpy(arrays.pop("fold"))
    blob = (Path(folder) / f"{part}.bin").read_bytes()
    ends = arrays.pop("ends").tolist()
    pieces = [blob[first:end] for first, end in zip([0, *ends[:-1]], ends, strict=True)]
    with ThreadPoolExecutor(8) as pool:
        images = np.stack(list(pool.map(lambda piece: np.asarray(Image.open(io.BytesIO(piece)).convert("L")), pieces)))
    lungs = np.unpackbits(arrays.pop("lungs"), axis=-1).astype(bool)
    return ResidentRadiographs.gather(images, lungs, arrays), fold


def draws(data: ResidentRadiographs, batch_size: int, normal_share: float = 0.45) -> Iterator[Tensor]:
    """Endless batches of places, with the same number of normal images in each: D then always sees as many."""
    normal = data.label == 0
    chances, count = data.chances(), round(batch_size * normal_share)
    while True:
        parts = []
        for part, number in ((normal, count), (~normal, batch_size - count)):
            parts.append(torch.multinomial(chances * part, number * 64, replacement=True).view(64, number))
        yield from torch.cat(parts, dim=1)
