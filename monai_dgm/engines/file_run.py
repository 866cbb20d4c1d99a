"""One command over the radiographs of a file, a folder or a datalist; bad files stop nobody, and one JSON tells all."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from monai_dgm import __version__
from monai_dgm.data.listing import none_found
from monai_dgm.engines.decomposition.decompose import PreparedRadiograph, prepare
from monai_dgm.engines.files import (
    all_failed,
    describe_model,
    input_items,
    relative_names,
    without_folders,
    write_results,
    writing,
)
from monai_dgm.engines.overlay import DISCLAIMER
from monai_dgm.errors import InputError, reason_of
from monai_dgm.readers.radiograph import Radiograph
from monai_dgm.readers.read import read_radiograph

__all__ = ["FileRun", "Loaded", "PrepareAlone", "prepare_alone", "question_radiograph"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
Item = Mapping[str, Any]

PROJECTION_MODALITIES = ("CR", "DX", "RG", "RF", "DR", "OT")
CHEST_WORDS = ("CHEST", "THORAX", "TORAX", "LUNG", "RIB")


@dataclass(frozen=True)
class Loaded(Generic[T]):
    """One entry of the datalist, read.

    Attributes:
        place: in the datalist.
        value: the radiograph as prepared.
    """

    place: int
    value: T


@dataclass(frozen=True)
class _Refused:
    """One that cannot be used, and why: in one line, without paths."""

    place: int
    reason: str


class _Prepared(Dataset[Any], Generic[T]):
    """Reads and prepares; input that cannot be used is returned as a reason, so that loading goes on."""

    def __init__(self, items: Sequence[Item], prepare: Callable[[Item, Radiograph], T]) -> None:
        self.items = items
        self.prepare = prepare

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> Loaded[T] | _Refused:
        item = self.items[place]
        try:
            return Loaded(place, self.prepare(item, read_radiograph(str(item["image"]))))
        except Exception as error:  # whatever a file does, the others go on
            return _Refused(place, without_folders(reason_of(error, str(item["image"])), item))


class FileRun:
    """The radiographs of one command, what came out of each, and the JSON file that tells of it.

    Args:
        datalist: a file, a folder (searched with its subfolders), or dicts with "image" (path) and "image_id" (unique).
        output_dir: made when missing.
        results_file: name of the JSON in it.
        output_files: names of the files written for an image, in ``output_dir/<image_id>/``.
        done: what is done to a radiograph, as in "could be decomposed".

    Raises:
        InputError: nothing there, equal or unusable image_ids, a folder that cannot be written.
    """

    def __init__(
        self,
        datalist: str | os.PathLike[str] | Sequence[Item],
        output_dir: str | os.PathLike[str],
        results_file: str,
        output_files: Collection[str] = (),
        done: str = "used",
    ) -> None:
        self.target = Path(output_dir)
        self.results_file = self.target / results_file
        self.done = done
        self.items, left_out = input_items(datalist, self.target, output_files, results_file)
        with writing(self.target):
            self.target.mkdir(parents=True, exist_ok=True)
        self._nothing = "" if self.items else none_found(str(datalist))
        paths = [str(item["image"]) for item in self.items]
        names = relative_names([*paths, *(path for path, _ in left_out)])
        self._names, others = names[: len(paths)], names[len(paths) :]
        self._left_out = [{"file": name, "reason": reason} for name, (_, reason) in zip(others, left_out, strict=True)]
        for one in self._left_out:
            logger.info("%s: left out: %s", one["file"], one["reason"])
        self._results: list[dict[str, Any]] = []
        self._failed: list[dict[str, str]] = []

    def batches(
        self, prepare: Callable[[Item, Radiograph], T], batch_size: int, num_workers: int = 0
    ) -> Iterator[list[Loaded[T]]]:
        """The radiographs in their order; each that cannot be used is noted as failed as it comes.

        Args:
            prepare: from an entry and its radiograph to what a network needs; it has to pickle for worker processes.
            batch_size: radiographs at once.
            num_workers: processes that read and prepare; 0 reads in this one.
        """
        loader: DataLoader = DataLoader(
            _Prepared(self.items, prepare), batch_size, num_workers=num_workers, collate_fn=list
        )
        with tqdm(total=len(self.items), desc=self.done, unit="image", disable=None) as progress:
            for batch in loader:
                for loaded in batch:
                    if isinstance(loaded, _Refused):
                        self.fail(loaded.place, loaded.reason)
                yield [loaded for loaded in batch if isinstance(loaded, Loaded)]
                progress.update(len(batch))

    def folder(self, place: int) -> Path:
        """Folder of the outputs of an image."""
        return self.target / str(self.items[place]["image_id"])

    def name(self, place: int) -> str:
        """The file, relative to the folder that holds all files: what lies above it is nobody's business."""
        return self._names[place]

    def add(self, place: int, outcome: Mapping[str, Any]) -> None:
        """Note what came out of an image."""
        self._results.append({**self._file(place), **outcome})

    def fail(self, place: int, reason: str) -> None:
        """Note that an image could not be used."""
        self._failed.append({**self._file(place), "reason": reason})
        logger.warning("%s: not %s: %s", self.name(place), self.done, reason)

    def write(self, model_file: str | os.PathLike[str] | None, **details: Any) -> dict[str, Any]:
        """Write the JSON: disclaimer, version, model, ``details``, "images", "failed", "left_out"; return its values.

        "left_out" are the files of a folder that were not taken for radiographs, each with the reason.

        Raises:
            InputError: the file cannot be written, or no radiograph could be used (it then lists the reasons).
        """
        report = {
            "disclaimer": DISCLAIMER,
            "version": f"monai-dgm {__version__}",
            "model": None if model_file is None else describe_model(model_file),
            **details,
            "images": self._results,
            "failed": self._failed,
            "left_out": self._left_out,
        }
        write_results(self.results_file, report)
        if not self._results:
            raise InputError(self._nothing or all_failed(self._failed, self.done))
        logger.info("%d %s, %d not", len(self._results), self.done, len(self._failed))
        print(f"results: {self.results_file}", flush=True)
        return report

    def _file(self, place: int) -> dict[str, str]:
        return {"image_id": str(self.items[place]["image_id"]), "file": self._names[place]}


@dataclass(frozen=True)
class PrepareAlone:
    """Prepares an entry for a model of side ``size``, with what in its header speaks against a frontal chest."""

    size: int

    def __call__(self, item: Item, radiograph: Radiograph) -> tuple[PreparedRadiograph, tuple[str, ...]]:
        """The radiograph as prepared, and the remarks of :func:`question_radiograph`."""
        return prepare_alone(radiograph, self.size), question_radiograph(radiograph)


def prepare_alone(radiograph: Radiograph, size: int) -> PreparedRadiograph:
    """A radiograph prepared for a model of side ``size`` with the settings that all bundles train with."""
    spacing, valid = radiograph.pixel_spacing, radiograph.valid
    return prepare(radiograph.pixels, size, pixel_spacing=spacing, valid=valid, orientation=radiograph.orientation)


def question_radiograph(radiograph: Radiograph) -> tuple[str, ...]:
    """What in a file's header speaks against a frontal chest radiograph; a header that says nothing is believed."""
    # code strings of at most 16 characters by the standard (PS3.5, 6.2); a file may hold anything
    modality, part, view = (
        " ".join((value or "").upper().split())[:16]
        for value in (radiograph.modality, radiograph.body_part, radiograph.view)
    )
    remarks = []
    if modality and modality not in PROJECTION_MODALITIES:
        remarks.append(f"modality {modality}, expected a projection radiograph")
    if part and not any(word in part for word in CHEST_WORDS):
        remarks.append(f"body part {part}, expected a chest")
    if view and not any(word in view for word in ("PA", "AP")):
        remarks.append(f"view {view}, expected PA or AP")
    return (*remarks, *radiograph.remarks)
