"""A radiograph of any source as a file on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monai_dgm.archive.packages import import_package
from monai_dgm.errors import InputError

__all__ = ["ImageFiles", "UnreadError"]


class UnreadError(InputError):
    """A radiograph that could not be fetched now: nothing is known of its content, and a later run tries again."""


class ImageFiles:
    """Fetches radiographs by the address of :class:`monai_dgm.archive.image_list.ArchiveImage`. It pickles.

    Files of this machine are read where they are; others lie in a private temporary file while they are used.

    Args:
        url: address of the DICOMweb service that WADO-RS paths belong to; None where there is none.
        login: user and password for it.
    """

    def __init__(self, url: str | None = None, login: tuple[str, str] | None = None) -> None:
        self.url = url
        self.login = login
        self._client: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the connection."""
        return {**self.__dict__, "_client": None}

    @contextmanager
    def file(self, address: str) -> Iterator[Path]:
        """The file, while the block runs.

        Raises:
            UnreadError: it could not be fetched.
        """
        if self.url is None and "://" not in address:
            yield Path(address)
            return
        content = self._fetch(address)
        with tempfile.TemporaryDirectory(prefix="monai-dgm-") as folder:
            path = Path(folder) / "image"
            path.write_bytes(content)
            del content
            yield path

    def client(self) -> Any:
        """The client of the DICOMweb service."""
        if self._client is None:
            from monai_dgm.labelling.archive.archive_client import ArchiveClient

            self._client = ArchiveClient(str(self.url), self.login)
        return self._client

    def _fetch(self, address: str) -> bytes:
        if self.url is None:
            try:
                with import_package("fsspec").open(address, "rb") as stream:
                    content: bytes = stream.read()
                return content
            except InputError:
                raise
            except Exception as error:  # each file system has its own; messages may quote an address
                raise UnreadError(f"image: cannot be fetched ({type(error).__name__})") from None
        from monai_dgm.labelling.archive.archive_client import StudyUIDs

        _, study, _, series, _, instance = address.split("/")
        try:
            content = self.client().retrieve(StudyUIDs(study, series, instance))
        except InputError as error:  # one line without identifiers
            raise UnreadError(str(error)) from None
        return content
