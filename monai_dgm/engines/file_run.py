"""One command over the radiographs of a file, a folder or a datalist, and the JSON file that lists its results."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

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
from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.engines.radiograph_result import RadiographResult
from monai_dgm.errors import InputError, reason_of
from monai_dgm.transforms.load_radiograph import LoadRadiographd
from monai_dgm.transforms.preparation import RadiographSource

__all__ = ["SCORES_FILE", "FileRun"]

logger = logging.getLogger(__name__)

Item = Mapping[str, Any]
SCORES_FILE = "scores.json"


class _LoadedItems(Dataset[Any]):
    """Reads and prepares; for a file that cannot be used the item is the reason: one line, without paths."""

    def __init__(self, items: Sequence[Item], preprocessing: Callable[[Any], Any]) -> None:
        self.items = items
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[int, Mapping[str, Any] | str]:
        item = self.items[index]
        try:
            return index, self.preprocessing(item)
        except Exception as error:  # whatever a file does, the others go on
            return index, without_folders(reason_of(error, str(item["image"])), item)


class FileRun:
    """The radiographs of one command, the results of each, and the JSON file that lists them.

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

    def results(
        self,
        pipeline: RadiographPipeline,
        batch_size: int,
        num_workers: int = 0,
        preprocessing: Callable[[Any], Any] | None = None,
    ) -> Iterator[tuple[int, RadiographSource, RadiographResult]]:
        """Read, prepare and analyse the radiographs in their order; those that cannot be used are listed as failed.

        Args:
            pipeline: analyses them.
            batch_size: radiographs at once.
            num_workers: processes that read and prepare; 0 reads in this one.
            preprocessing: a :class:`monai_dgm.transforms.load_radiograph.LoadRadiographd` at the pipeline's sides, or a
                transform that writes "prepared" and "source" as it does; has to pickle for worker processes.

        Yields:
            index in the datalist, source and result of each radiograph that could be used.
        """
        transform = preprocessing or LoadRadiographd("image", pipeline.sides)
        dataset = _LoadedItems(self.items, transform)
        loader: DataLoader = DataLoader(dataset, batch_size, num_workers=num_workers, collate_fn=list)
        with tqdm(total=len(self.items), desc=self.done, unit="image", disable=None) as progress:
            for batch in loader:
                good = []
                for index, loaded in batch:
                    if isinstance(loaded, str):
                        self.fail(index, loaded)
                    else:
                        good.append((index, loaded))
                results = pipeline([loaded["prepared"] for _, loaded in good])
                for (index, loaded), result in zip(good, results, strict=True):
                    if isinstance(result, InputError):
                        self.fail(index, str(result))
                    else:
                        yield index, loaded["source"], result
                progress.update(len(batch))

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

    def _file(self, index: int) -> dict[str, str]:
        return {"image_id": str(self.items[index]["image_id"]), "file": self._names[index]}
