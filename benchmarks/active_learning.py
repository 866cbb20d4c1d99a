"""What choosing the images brings: AP of the detector against the number of corrected images, by strategy.

    python benchmarks/active_learning.py [--seeds 0,1,2,3,4] [--strategies combined,random]
    python benchmarks/active_learning.py --dataset_dir FOLDER --decomposer_path 'RUNS/fold{fold}/models/model.pt'

A simulated radiologist answers with the true boxes. A detector trained on a few images starts; in each round a strategy
chooses images of a pool by the package's own scores, their labels are processed as the app's are, the detector is
fine-tuned on them and the first images, and tested on images outside of the pool. Strategies of one seed share
first images, start detector and pool. Every round's detector is used in the next; none is held back.

A decomposer that was trained on the pool would know too much of it. Without --dataset_dir the radiographs are an
embedded sample of other patients than the decomposer's. With it a seed is a fold: its images are the pool, {fold} in
--decomposer_path names the decomposer that was tested on it, and all other folds are the test, which a detector on
images alone has not seen. Without weights of a decomposer, suspicion and uncertainty are the detector's alone and the
rest of "combined" is random.

Runs that are there are not repeated, one that was interrupted goes on. Written: results.csv, table.md and
active_learning.png.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from learning_curves import draw_curves, table_of

from monai_dgm.data.opacity_boxes import num_boxes, opacity_splits
from monai_dgm.data.sources import load_splits
from monai_dgm.engines.weights import find_weights, save_weights
from monai_dgm.labelling.active_learning.image_scores import ImageScores, score_image
from monai_dgm.labelling.active_learning.strategies import STRATEGIES, select_images
from monai_dgm.labelling.labels.image_label import ImageLabel, make_boxes
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.models import LabellingModels
from monai_dgm.labelling.server.studies import StudyFolder, image_id_of
from monai_dgm.labelling.training.fine_tuning import FineTuneOptions, fine_tune
from monai_dgm.labelling.training.promotion import detect_in, metrics_of
from monai_dgm.labelling.training.training_data import TrainingData, corrected_items, write_splits
from monai_dgm.networks.detector import OpacityDetector
from monai_dgm.readers.read import image_shape
from monai_dgm.transforms.geometry import RadiographGeometry
from monai_dgm.utils.atomic import atomic_write, write_json, write_text

CONFIG = "bundles/opacity_detection/configs/train.json"
SAMPLE_SEED = 1  # the bundles train on the patients of seed 0
Datalist = list[dict[str, Any]]


@dataclass(frozen=True)
class DatasetInfo:
    """Radiographs to choose from, and to test on, and what the decomposer says of the former."""

    pool: Datalist
    test: Datalist
    known: dict[str, dict[str, Any]]
    decomposer: Path


def make_dataset_info(seed: int, arguments: argparse.Namespace) -> DatasetInfo:
    """Pool and test of the data set, of limited size, with the decomposer's part of the scores."""
    own = arguments.dataset_dir is not None
    sizes = {} if own else {"sample_patients": arguments.sample_patients, "sample_size": 128}
    fold = {"fold": seed, "seed": 0} if own else {"seed": SAMPLE_SEED}
    splits = opacity_splits(load_splits(arguments.dataset_dir, arguments.output_dir / "sample", **sizes, **fold))
    seen, held_out = [*splits.training, *splits.validation], splits.test
    pool, test = (held_out, seen) if own else (seen, held_out)
    draw = np.random.default_rng(0)
    pool, test = _some(pool, arguments.pool, draw), _some(test, arguments.test, draw)
    weights = Path(str(arguments.decomposer_path).format(fold=seed)).resolve()
    scores = arguments.output_dir / (f"decomposer_scores_{seed}.json" if own else "decomposer_scores.json")
    return DatasetInfo(pool, test, decomposer_scores(pool, weights, scores, arguments), weights)


def _some(items: Datalist, number: int, draw: np.random.Generator) -> Datalist:
    return [items[place] for place in sorted(draw.permutation(len(items))[:number])]


def decomposer_scores(
    pool: Datalist, weights: Path, file: Path, arguments: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Abnormality probability, saliency boxes (in the detector's coordinates) and features of each image, kept."""
    if not weights.is_file():
        print(f"there are no weights of a decomposer in {weights}: only the detector's scores are known")
        return {}
    known: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.is_file() else {}
    root = Path(pool[0]["image"]).parent if arguments.dataset_dir is None else Path(arguments.dataset_dir)
    models = LabellingModels(arguments.output_dir, {"decomposer": weights}, arguments.device)
    analysis = RadiographAnalysis(StudyFolder(root), models)
    for item in pool:
        name, study = item["image_id"], image_id_of(Path(item["image"]).relative_to(root.absolute()))
        if name in known:
            continue
        salient, rows_cols = analysis.saliency_detections(study), image_shape(item["image"])
        boxes = RadiographGeometry(*rows_cols, arguments.image_size, "pad").boxes_to_model(salient.boxes)
        known[name] = {
            "probability": analysis.examine(study).probability,
            "boxes": boxes.tolist(),
            "weights": salient.scores.tolist(),
            "features": analysis.features(study)[0].tolist(),
        }
    write_json(file, known)
    return known


def scores_of(
    items: Datalist, dataset_info: DatasetInfo, weights: Path, arguments: argparse.Namespace
) -> list[ImageScores]:
    """Scores of images with the detector of now."""
    found = []
    cache = arguments.output_dir / "cache"
    for record in detect_in(items, weights, cache, decomposer(dataset_info, arguments), arguments.device):
        known = dataset_info.known.get(record.image_id, {})
        saliency = features = None
        if known:
            saliency = np.asarray(known["boxes"], dtype=np.float64).reshape(-1, 4), known["weights"]
            features = np.asarray(known["features"], dtype=np.float32)
        detector, probability = (record.boxes, record.scores), known.get("probability")
        found.append(
            score_image(record.image_id, str(weights), detector, probability, saliency, features, "decomposer")
        )
    return found


def decomposer(dataset_info: DatasetInfo, arguments: argparse.Namespace) -> str | None:
    """The decomposer's weights for a detector that sees residues."""
    return str(dataset_info.decomposer) if "residue" in arguments.channels else None


def first_images(pool: Datalist, number: int, seed: int) -> set[str]:
    """Ids of the images of the start detector: half of them with boxes."""
    order = np.random.default_rng((seed, 7)).permutation(len(pool))
    with_boxes = [pool[place]["image_id"] for place in order if num_boxes(pool[place])]
    without = [pool[place]["image_id"] for place in order if not num_boxes(pool[place])]
    return set(with_boxes[: number // 2] + without[: number - number // 2])


def radiologist(items: Datalist) -> Datalist:
    """The images as readers' labels give them to a training: true boxes, through label and consensus."""
    labels = []
    for item in items:
        boxes = make_boxes(item["opacity_boxes"])
        status = "boxes" if boxes else "no_finding"
        labels.append(
            ImageLabel(item["image_id"], image_shape(item["image"]), status, boxes, "radiologist", "simulation")
        )
    return corrected_items(labels, {item["image_id"]: item["image"] for item in items})[0]


def train(
    folder: Path, weights: Path, first: Datalist, corrected: Datalist, steps: int, rate: float, seed: int,
    arguments: argparse.Namespace, dataset_info: DatasetInfo,
) -> Path:  # fmt: skip
    """Weights after a training on first images and corrections."""
    data = [{**item, "corrected": 0} for item in first] + [{**item, "corrected": 1} for item in corrected]
    folder.mkdir(parents=True, exist_ok=True)
    validation = dataset_info.test[: min(8, len(dataset_info.test))]  # of one look at the end, that decides nothing
    write_splits(folder / "splits.json", TrainingData(data, validation, {}, f"{len(first)} + {len(corrected)} images"))
    options = FineTuneOptions(1, steps, 8, rate)
    others: dict[str, Any] = {"device": f"$torch.device({arguments.device!r})", "seed": seed}
    others["train#checkpoint#save_interval"] = 200
    others |= {"cache_dir": arguments.output_dir / "cache", "decomposer_path": str(dataset_info.decomposer)}
    trained = fine_tune(CONFIG, weights, options, folder / "splits.json", folder, others)
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    return trained


def untrained(folder: Path, seed: int, arguments: argparse.Namespace) -> Path:
    """A detector of random weights."""
    path = folder / "untrained.pt"
    settings = {"channels": arguments.channels, "image_size": arguments.image_size, "backbone": "resnet18"}
    settings |= {"width": arguments.width, "fpn_channels": 64}
    torch.manual_seed(seed)
    network = OpacityDetector(len(arguments.channels), "resnet18", arguments.image_size, arguments.width, 64)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(settings))
    save_weights(network.state_dict(), path)
    return path


def tested(
    folder: Path, weights: Path, chosen: Sequence[str], dataset_info: DatasetInfo, arguments: argparse.Namespace
) -> None:
    """Write down the figures of a round."""
    cache, other = arguments.output_dir / "cache", decomposer(dataset_info, arguments)
    metrics = metrics_of(detect_in(dataset_info.test, weights, cache, other, arguments.device))
    write_json(folder / "result.json", {"weights": str(weights), "chosen": list(chosen), "metrics": metrics})


def run(strategy: str, seed: int, dataset_info: DatasetInfo, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """All rounds of one strategy and seed, as rows."""
    place = arguments.output_dir / f"seed_{seed}"
    names = first_images(dataset_info.pool, arguments.first_images, seed)
    first = [item for item in dataset_info.pool if item["image_id"] in names]
    by_id = {item["image_id"]: item for item in dataset_info.pool}
    chosen: list[str] = []
    weights, rows = Path(), []
    for number in range(arguments.rounds + 1):
        folder = place / strategy / f"round_{number}" if number else place / "start"
        if not (folder / "result.json").is_file():
            if number == 0:
                start = (untrained(folder, seed, arguments), first, [], arguments.start_steps, 1e-3)
                new: list[str] = []
            else:
                new = choose(strategy, number, seed, weights, names, chosen, dataset_info, arguments)
                corrected = radiologist([by_id[name] for name in [*chosen, *new]])
                start = (weights, first, corrected, arguments.round_steps, arguments.learning_rate)
            trained = train(folder, *start, seed, arguments, dataset_info)
            tested(folder, trained, new, dataset_info, arguments)
        result = json.loads((folder / "result.json").read_text())
        weights, chosen = Path(result["weights"]), [*chosen, *result["chosen"]]
        row = {"seed": seed, "strategy": strategy, "round": number, "corrected_images": len(chosen)}
        row["with_boxes"] = sum(num_boxes(by_id[name]) > 0 for name in chosen)
        rows.append({**row, **result["metrics"]})
        print(", ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    return rows


def choose(
    strategy: str, number: int, seed: int, weights: Path, first: set[str], chosen: Sequence[str],
    dataset_info: DatasetInfo,
    arguments: argparse.Namespace,
) -> list[str]:  # fmt: skip
    """The images that a strategy wants labelled next."""
    done = first | set(chosen)
    if strategy == "random":
        scores = [ImageScores(item["image_id"], "") for item in dataset_info.pool]
    else:
        scores = scores_of(dataset_info.pool, dataset_info, weights, arguments)
    left = [one for one in scores if one.image_id not in done]
    labelled = [one for one in scores if one.image_id in done]
    return select_images(left, arguments.per_round, strategy, labelled, 100 * seed + number)


def main() -> None:
    """Run what is not there yet, and write table and figure after each seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dataset_dir", help="manifest.csv or the RSNA challenge; the embedded sample where not given")
    parser.add_argument("--output_dir", type=Path, default=Path("output/active_learning"))
    parser.add_argument("--decomposer_path", default=find_weights("bundles/dgm/models"))
    parser.add_argument("--strategies", default="combined,random", help=", ".join(STRATEGIES))
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--channels", default="image", help="image, or image,residue")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--learning_rate", type=float, default=5e-4)
    parser.add_argument("--width", type=float, default=0.25)
    sizes = {"image_size": 64, "rounds": 5, "per_round": 10, "first_images": 20, "start_steps": 300}
    sizes |= {"round_steps": 100, "pool": 250, "test": 150, "sample_patients": 400}
    for name, value in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    arguments = parser.parse_args()
    arguments.output_dir = arguments.output_dir.resolve()
    arguments.channels = arguments.channels.split(",")
    if "residue" in arguments.channels and arguments.dataset_dir is not None:
        parser.error("--dataset_dir: expected --channels image, since the decomposers have seen the test images")
    rows: list[dict[str, Any]] = []
    for seed in map(int, arguments.seeds.split(",")):
        dataset_info = make_dataset_info(seed, arguments)
        for strategy in arguments.strategies.split(","):
            rows += run(strategy, seed, dataset_info, arguments)
        with atomic_write(arguments.output_dir / "results.csv") as partial, open(partial, "w", newline="") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        write_text(arguments.output_dir / "table.md", table_of(rows))
        draw_curves(rows, arguments.output_dir / "active_learning.png")
    print(table_of(rows))


if __name__ == "__main__":
    main()
