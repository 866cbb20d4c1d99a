"""The files of one inference run: their list, the data set over them, and the JSON file that lists the results."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.data import Dataset

from monai_dgm import __version__
from monai_dgm.data.listing import none_found
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

__all__ = ["SCORES_FILE", "FileDataset", "FileRun", "collate_files"]

logger = logging.getLogger(__name__)

Item = Mapping[str, Any]
SCORES_FILE = "scores.json"


class FileDataset(Dataset):
    """MONAI's data set of the files of a :class:`FileRun`.

    Item i is what ``transform`` makes of entry i, with "index"; for a file that cannot be used it is only "index" and
    "reason", one line without paths, so that the other files are still read.

    Args:
        data: dicts with "image" (path).
        transform: such as :class:`monai_dgm.transforms.load_radiograph.LoadRadiographd`; has to pickle for worker
            processes.
    """

    def __init__(self, data: Sequence[Item], transform: Callable[[Any], Any]) -> None:
        super().__init__(data, transform)

    def __getitem__(self, index: int) -> dict[str, Any]:  # type: ignore[override]
        """One radiograph, read and prepared, or the reason why it cannot be used."""
        item = self.data[index]
        try:
            return {**self.transform(item), "index": index}
        except Exception as error:  # whatever a file does, the others are still read
            # MONAI's Compose raises a RuntimeError from the error of the transform
            cause = error.__cause__ if "applying transform" in str(error) else None
            found = cause if isinstance(cause, Exception) else error
            return {"index": index, "reason": without_folders(reason_of(found, str(item["image"])), item)}


def collate_files(items: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """A batch of :class:`FileDataset`: "index", "prepared" and "source" of the usable files, and "failed".

    Returns:
        lists; "failed" has (index, reason) of each file that cannot be used.
    """
    usable = [item for item in items if "reason" not in item]
    batch: dict[str, list[Any]] = {name: [item[name] for item in usable] for name in ("index", "prepared", "source")}
    return {**batch, "failed": [(item["index"], item["reason"]) for item in items if "reason" in item]}


class FileRun:
    """The radiographs of one command, the results of each, and the JSON file that lists them.

    Args:
        datalist: a file, a folder (searched with its subfolders), or dicts with "image" (path) and "image_id" (unique).
        output_dir: made when missing.
        results_file: name of the JSON in it.
        output_files: names of the files that are written per image, in ``output_dir/<image_id>/``.
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

    def clear(self) -> None:
        """Forget the results of an earlier run."""
        self._results.clear()
        self._failed.clear()

    def folder(self, index: int) -> Path:
        """Folder of the outputs of a radiograph."""
        return self.target / str(self.items[index]["image_id"])

    def name(self, index: int) -> str:
        """The file's path relative to the deepest folder that holds all files, so that no other folder is named."""
        return self._names[index]

    def add(self, index: int, values: Mapping[str, Any]) -> None:
        """List the results of a radiograph."""
        self._results.append({**self._file(index), **values})

    def fail(self, index: int, reason: str) -> None:
        """List a radiograph that could not be used, with the reason."""
        self._failed.append({**self._file(index), "reason": reason})
        logger.warning("%s: not %s: %s", self.name(index), self.done, reason)

    def check_complete(self) -> None:
        """Whether every radiograph is listed, as a result or as failed.

        Raises:
            InputError: some are missing: what gave the radiographs ended early.
        """
        listed = len(self._results) + len(self._failed)
        if listed != len(self.items):
            raise InputError(
                f"expected results of {len(self.items)} radiographs, got {listed}: the reading ended early"
            )

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
        return report

    def _file(self, index: int) -> dict[str, str]:
        return {"image_id": str(self.items[index]["image_id"]), "file": self._names[index]}
