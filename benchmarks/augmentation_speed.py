"""Which library moves and re-exposes a batch of radiographs with residues and masks fastest?

    python benchmarks/augmentation_speed.py                         # 16 images of 224 px on the CPU
    python benchmarks/augmentation_speed.py --device cuda --batch 32

`RandRadiographAugmentation` against the same work (random rotation, scale and shift of two channels and a mask; random
contrast, brightness and gamma of the image) by MONAI's dictionary transforms, torchvision's transforms v2 and kornia,
which is left out where it is not installed. MONAI and torchvision v2 draw one set of random numbers per call, so they
take the images of a batch one by one. Runs are interleaved; compare ratios, not times.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch
from monai.transforms import Compose, RandAdjustContrastd, RandAffined, RandScaleIntensityd, RandShiftIntensityd
from torch import Tensor

from monai_dgm.transforms.augmentation import RandRadiographAugmentation
from monai_dgm.utils.torchvision_import import ensure_torchvision

Batch = dict[str, Tensor]
Augment = Callable[[Batch], object]


def with_monai(size: int) -> Augment:
    """MONAI's dictionary transforms, one image at a time."""
    angle, shift = math.radians(6), 0.04 * size
    move = RandAffined(
        ["planes", "mask"],
        prob=0.9,
        rotate_range=angle,
        scale_range=0.08,
        translate_range=shift,
        mode=["bilinear", "nearest"],
        padding_mode="zeros",
    )
    expose = [
        RandAdjustContrastd("image", prob=0.9, gamma=(0.8, 1.2)),
        RandScaleIntensityd("image", factors=0.15, prob=0.9),
        RandShiftIntensityd("image", offsets=0.05, prob=0.9),
    ]
    exposure = Compose(expose)

    def augment(batch: Batch) -> list[object]:
        results = []
        for planes, mask in zip(batch["image"], batch["label"], strict=True):
            moved = move({"planes": (planes + 1) / 2, "mask": mask})
            results.append((exposure({"image": moved["planes"][:1]}), moved))
        return results

    return augment


def with_torchvision(size: int) -> Augment:
    """torchvision's transforms v2, one image at a time."""
    ensure_torchvision()
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    move = v2.RandomAffine(6, translate=(0.04, 0.04), scale=(0.92, 1.08), interpolation=v2.InterpolationMode.BILINEAR)
    expose = v2.ColorJitter(brightness=0.1, contrast=0.15)

    def augment(batch: Batch) -> list[object]:
        results = []
        for planes, mask in zip(batch["image"], batch["label"], strict=True):
            moved, moved_mask = move(tv_tensors.Image((planes + 1) / 2), tv_tensors.Mask(mask))
            gamma = math.exp(0.2 * (2 * float(torch.rand(())) - 1))
            results.append((v2.functional.adjust_gamma(expose(moved[:1]), gamma), moved[1:], moved_mask))
        return results

    return augment


def with_kornia(size: int) -> Augment:
    """kornia's batched augmentations."""
    import kornia.augmentation as K

    move = K.AugmentationSequential(
        K.RandomAffine(6.0, translate=(0.04, 0.04), scale=(0.92, 1.08), p=0.9), data_keys=["input", "mask"]
    )
    expose = torch.nn.Sequential(
        K.RandomGamma((0.8, 1.2), p=0.9), K.RandomContrast((0.85, 1.15), p=0.9), K.RandomBrightness((0.9, 1.1), p=0.9)
    )

    def augment(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        planes, mask = move((batch["image"] + 1) / 2, batch["label"])
        return expose(planes[:, :1]), planes[:, 1:], mask

    return augment


def main() -> None:
    """Time every library."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repetitions", type=int, default=20)
    args = parser.parse_args()
    shape = (args.batch, 1, args.size, args.size)
    image = torch.rand(args.batch, 2, args.size, args.size, device=args.device) * 2 - 1
    batch = {"image": image, "label": (torch.rand(shape, device=args.device) > 0.5).float()}
    runs: dict[str, Augment] = {
        "monai_dgm": RandRadiographAugmentation(("image", "residue"), mask_key="label"),
        "MONAI": with_monai(args.size),
        "torchvision v2": with_torchvision(args.size),
    }
    try:
        runs["kornia"] = with_kornia(args.size)
    except ImportError:
        print("kornia is not installed")
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repetition in range(args.repetitions + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run(batch)
            if args.device.startswith("cuda"):
                torch.cuda.synchronize()
            if repetition > 0:
                times[name].append(time.perf_counter() - start)
    best = statistics.median(times["monai_dgm"])
    print(f"{args.batch} images of {args.size} px, {args.device}, {torch.get_num_threads()} threads")
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        print(f"  {name:16s} {1000 * middle / args.batch:8.3f} ms per image (median), {middle / best:6.2f} times ours")


if __name__ == "__main__":
    main()
