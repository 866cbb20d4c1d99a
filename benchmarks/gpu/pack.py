"""The radiographs of a training in one folder, small enough to carry, and how they are drawn."""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from monai_dgm.engines.training.resident import ResidentRadiographs

SOURCES = ("nih", "rsna_normal", "siim_fisabio", "montgomery", "shenzhen", "covid_case_reports")
PARTS = ("training", "validation")


def pack(arguments: argparse.Namespace) -> None:
    """Write the training and validation images of a folder, as they are trained on, with what is known of them."""
    from monai_dgm.data.dataset import RadiographDataset
    from monai_dgm.data.known_truth import describe_items
    from monai_dgm.data.sources import load_splits
    from monai_dgm.engines.lungs.segmentor import load_lung_segmentor

    output = Path(arguments.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    splits = load_splits(arguments.dataset_dir, output / "sample", fold=arguments.fold)
    segmentor = load_lung_segmentor(arguments.lungs)
    for part in PARTS:
        dataset = RadiographDataset(getattr(splits, part), arguments.size, arguments.cache_dir or output / "cache")
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
            ends=np.cumsum([len(blob) for blob in blobs]), **known,
        )  # fmt: skip
        print(part, len(dataset), "images", round(sum(map(len, blobs)) / 1e6, 1), "MB", flush=True)


def _encode(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).convert("RGB").save(stream, "WEBP", quality=90, method=6)
    return stream.getvalue()


def load_pack(folder: str | Path, part: str) -> ResidentRadiographs:
    """What :func:`pack` wrote."""
    arrays = dict(np.load(Path(folder) / f"{part}.npz"))
    blob = (Path(folder) / f"{part}.bin").read_bytes()
    ends = arrays.pop("ends").tolist()
    pieces = [blob[first:end] for first, end in zip([0, *ends[:-1]], ends, strict=True)]
    with ThreadPoolExecutor(8) as pool:
        images = np.stack(list(pool.map(lambda piece: np.asarray(Image.open(io.BytesIO(piece)).convert("L")), pieces)))
    lungs = np.unpackbits(arrays.pop("lungs"), axis=-1).astype(bool)
    return ResidentRadiographs.gather(images, lungs, arrays)


def draws(data: ResidentRadiographs, batch_size: int, normal_share: float = 0.45) -> Iterator[Tensor]:
    """Endless batches of places, with the same number of normal images in each: D then always sees as many."""
    normal = data.label == 0
    chances, count = data.chances(), round(batch_size * normal_share)
    while True:
        parts = []
        for part, number in ((normal, count), (~normal, batch_size - count)):
            parts.append(torch.multinomial(chances * part, number * 64, replacement=True).view(64, number))
        yield from torch.cat(parts, dim=1)
