"""Cache of prepared radiographs: each file is read and resampled once; later runs map the results into memory."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from monai_dgm.data.cache_file import (
    ArrayWriter,
    Description,
    checksum,
    no_space_as_input_error,
    open_images,
)
from monai_dgm.data.decode import Decoded, Settings, check_main_guard, decode_files
from monai_dgm.data.fingerprints import Fingerprints
from monai_dgm.errors import InputError

logger = logging.getLogger(__name__)

FORMAT = 3  # raise it when reading or preparing radiographs gives other pixels: older files are then not used
Bad = tuple[str, str]  # (path, reason)


@dataclass
class CachedRadiographs:
    """Prepared radiographs of a datalist.

    Args:
        path: the ``.npy`` file of the cache.
        kept: index in the datalist of each image.
        bad: (path, reason) of the files that were left out.
    """

    path: Path
    kept: list[int]
    bad: list[Bad]

    def __post_init__(self) -> None:
        found = open_images(self.path)
        if found is None:
            raise InputError(f"{self.path}: expected the cached radiographs that were just there, they cannot be read")
        self._images, self.description = found
        self.plain_images: NDArray[np.uint16] = np.asarray(self._images)  # same memory; slicing a memmap is slow

    @property
    def images(self) -> NDArray[np.uint16]:
        """uint16 (N, S, S), memory-mapped, read-only; 0..65535 stands for [-1, 1]."""
        return self._images

    @property
    def geometries(self) -> list[Any]:
        """The :class:`monai_dgm.transforms.geometry.RadiographGeometry` of each image."""
        return self.description.geometries

    def __getstate__(self) -> dict[str, Any]:
        # a pickled memory map would copy all images into every loader process; instead each process maps the file
        return {name: self.__dict__[name] for name in ("path", "kept", "bad")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()


class RadiographCache:
    """Builds and opens cache files; safe when several processes do so at once, or when one is killed.

    A file's name contains hashes of the settings and of the fingerprints of all images. It is written under another
    name under a lock and renamed when it is complete. Images that another file of the same settings has are copied and
    not decoded again, so the splits of one data set cost one decoding.

    Args:
        cache_dir: folder, made when missing.
        size: side S of the images in pixels.
        fit: "pad" or "stretch".
        percentiles: see :func:`monai_dgm.transforms.geometry.prepare_radiograph`.
        num_workers: decoding processes, see :func:`monai_dgm.data.decode.decode_files`.
    """

    def __init__(
        self,
        cache_dir: str | os.PathLike[str],
        size: int,
        fit: str = "pad",
        percentiles: tuple[float, float] | None = (0.5, 99.5),
        num_workers: int | None = None,
    ) -> None:
        self.cache_dir = Path(cache_dir).absolute()
        pair = None if percentiles is None else (float(percentiles[0]), float(percentiles[1]))
        self.settings = Settings(int(size), fit, pair)
        self.num_workers = num_workers

    def build(self, datalist: Sequence[dict[str, Any]], skip_bad: bool = False) -> CachedRadiographs:
        """Open the cache file of ``datalist``; build it where it is missing or damaged, or where radiographs changed.

        Args:
            datalist: dicts with "image", a path.
            skip_bad: leave out files that cannot be used, and list them in ``bad``, instead of raising an error.

        Raises:
            InputError: files that cannot be used (the first is named, the others counted), no usable file, or no
                space in ``cache_dir``.
        """
        with no_space_as_input_error(self.cache_dir, self._num_bytes(len(datalist))):
            self.cache_dir.mkdir(parents=True, exist_ok=True)
            prints, bad = self._fingerprint([str(item["image"]) for item in datalist])
        if not skip_bad:
            _raise_bad(bad, len(datalist))
        kept = [index for index, fingerprint in enumerate(prints) if fingerprint]
        paths = [str(datalist[index]["image"]) for index in kept]
        wanted = [prints[index] for index in kept]
        target = self._target(wanted)
        if wanted and not self._is_whole(target, wanted):
            check_main_guard()
            space = no_space_as_input_error(self.cache_dir, self._num_bytes(len(wanted)))
            with space, FileLock(target.with_suffix(".lock")):
                if not self._is_whole(target, wanted):  # another process may have built it while this one waited
                    target, good, undecoded = self._write(target, paths, wanted, skip_bad)
                    kept = [kept[index] for index in good]
                    bad += undecoded
        if not kept:
            _raise_bad(bad, len(datalist))
            raise InputError(f"{self.cache_dir}: expected at least one radiograph to cache, got none")
        return CachedRadiographs(target, kept, bad)

    def _num_bytes(self, num_images: int) -> int:
        return num_images * 2 * self.settings.size**2

    def _fingerprint(self, paths: list[str]) -> tuple[list[str], list[Bad]]:
        fingerprints = Fingerprints(self.cache_dir)
        found: list[str] = []
        bad: list[Bad] = []
        for path in paths:
            try:
                found.append(fingerprints(path))
            except InputError as error:
                found.append("")
                bad.append((path, str(error)))
        fingerprints.save()
        return found, bad

    def _stem(self) -> str:
        text = json.dumps({"format": FORMAT, **asdict(self.settings)}, sort_keys=True)
        return f"radiographs-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def _target(self, fingerprints: list[str]) -> Path:
        content = hashlib.sha256("\n".join(fingerprints).encode()).hexdigest()[:32]
        return self.cache_dir / f"{self._stem()}-{content}.npy"

    def _is_whole(self, target: Path, fingerprints: list[str]) -> bool:
        found = open_images(target)
        return found is not None and (found[1].fingerprints, found[1].size) == (fingerprints, self.settings.size)

    def _write(
        self, target: Path, paths: list[str], fingerprints: list[str], skip_bad: bool
    ) -> tuple[Path, list[int], list[Bad]]:
        """Write the images that can be decoded; returns the file, their indices, and the files that were left out."""
        good: list[int] = []
        bad: list[Bad] = []
        size = self.settings.size
        description = Description(size)
        writer = ArrayWriter(target, "<u2", (size, size), len(paths))
        try:
            for index, decoded in enumerate(self._prepared(paths, fingerprints)):
                if decoded.image is None or decoded.geometry is None:
                    bad.append((paths[index], str(decoded.reason)))
                    continue
                writer.append(decoded.image)
                description.fingerprints.append(fingerprints[index])
                description.geometries.append(decoded.geometry)
                description.checksums.append(checksum(decoded.image))
                good.append(index)
            if not skip_bad:
                _raise_bad(bad, len(paths))
            # files that were left out are tried again the next time: a missing decoder may then be installed
            writer.target = self._target(description.fingerprints)
            if good:
                writer.target.with_suffix(".json").unlink(missing_ok=True)  # never an old description of new images
                writer.finish()
                description.write(writer.target.with_suffix(".json"))
        finally:
            writer.close()
        return writer.target, good, bad

    def _prepared(self, paths: list[str], fingerprints: list[str]) -> Iterator[Decoded]:
        known = self._known_images(set(fingerprints))
        missing = [path for path, fingerprint in zip(paths, fingerprints, strict=True) if fingerprint not in known]
        logger.info("preparing %d radiographs, %d of them to be decoded", len(paths), len(missing))
        fresh = decode_files(missing, self.settings, self.num_workers)
        for fingerprint in fingerprints:
            yield known[fingerprint] if fingerprint in known else next(fresh)

    def _known_images(self, wanted: set[str]) -> dict[str, Decoded]:
        known: dict[str, Decoded] = {}
        for path in sorted(self.cache_dir.glob(f"{self._stem()}-*.npy")):
            found = open_images(path)
            if found is None or wanted.isdisjoint(found[1].fingerprints):
                continue
            images, description = found
            for row, fingerprint in enumerate(description.fingerprints):
                if fingerprint not in wanted or fingerprint in known:
                    continue
                if checksum(images[row]) == description.checksums[row]:
                    known[fingerprint] = Decoded(images[row], description.geometries[row])
        return known


def _raise_bad(bad: list[Bad], total: int) -> None:
    if not bad:
        return
    more = f" (and {len(bad) - 1} more of {total} files cannot be used)" if len(bad) > 1 else ""
    raise InputError(bad[0][1] + more)
