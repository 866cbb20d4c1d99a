"""The files of the prebuilt OHIF viewer (npm's ``@ohif/app``), served below a prefix that it was not built for.

Its page, scripts and styles take their own address for ``/``. The few places that say so are set here while they are
read: the folder stays as npm unpacked it.
"""

from __future__ import annotations

import mimetypes
import os
import re
from dataclasses import dataclass
from pathlib import Path

from monai_dgm.labelling.server.http_errors import UnavailableError, UnknownError

__all__ = ["OHIFFiles", "ServedFile"]

_PART = re.compile(r"[A-Za-z0-9_@+-][A-Za-z0-9_.@+-]*")  # no hidden file, no way up, no separator of another system
_HASHED = re.compile(r"(\.bundle\.)?[0-9a-f]{16}\.(js|wasm|woff2)")  # the name changes with the content
# where files name the prefix: the module loader of the viewer and of its workers, and fonts
_PLACES = {".js": ('__webpack_require__.p = "{}"',), ".css": ("url({}",)}
_MEDIA_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}
ADVICE = "there is no viewer: make ohif fetches it, or set ohif_dir to the dist folder of npm's @ohif/app"


@dataclass(frozen=True)
class ServedFile:
    """One file as a browser is sent it.

    Attributes:
        content: bytes.
        media_type: of it.
        lasting: it never changes under this name, so that a browser may keep it.
    """

    content: bytes
    media_type: str
    lasting: bool


class OHIFFiles:
    """Files of the viewer and of our extension.

    Args:
        folder: ``dist`` of npm's ``@ohif/app``; may be missing, and come later.
        extension: folder of plain scripts; ``app-config.js`` last, all together are the viewer's ``app-config.js``.
        prefix: of the address, such as ``/ohif/``.
    """

    def __init__(
        self, folder: str | os.PathLike[str], extension: str | os.PathLike[str], prefix: str = "/ohif/"
    ) -> None:
        self.folder = Path(folder)
        self.extension = Path(extension)
        self.prefix = prefix

    def there(self) -> bool:
        """Whether the viewer is there."""
        return (self.folder / "index.html").is_file()

    def get(self, path: str) -> ServedFile:
        """A file by its path below the prefix; what is no file's name is a page of the viewer, which has one.

        Raises:
            UnavailableError: no viewer.
            UnknownError: a file that there is not.
        """
        if not self.there():
            raise UnavailableError(ADVICE)
        if path == "app-config.js":
            return ServedFile(self._configuration(), "text/javascript", False)
        parts = [part for part in path.split("/") if part]
        if not parts or "." not in parts[-1]:  # a place within the viewer, such as viewer?StudyInstanceUIDs=...
            return ServedFile(self._page(), "text/html; charset=utf-8", False)
        file = self._file(parts)
        content = file.read_bytes()
        for place in _PLACES.get(file.suffix, ()):
            content = content.replace(place.format("/").encode(), place.format(self.prefix).encode())
        kind = _MEDIA_TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        return ServedFile(content, kind, bool(_HASHED.search(file.name)))

    def _file(self, parts: list[str]) -> Path:
        if not all(_PART.fullmatch(part) for part in parts):
            raise UnknownError("the viewer has no such file")
        file = self.folder.joinpath(*parts)
        if not file.is_file() or not file.resolve().is_relative_to(self.folder.resolve()):
            raise UnknownError("the viewer has no such file")
        return file

    def _page(self) -> bytes:
        page = (self.folder / "index.html").read_text(encoding="utf-8")
        page = re.sub(r'((?:href|src|content)=")/', rf"\1{self.prefix}", page)
        return page.replace('PUBLIC_URL="/"', f'PUBLIC_URL="{self.prefix}"').encode("utf-8")

    def _configuration(self) -> bytes:
        names = sorted(self.extension.glob("*.js"), key=lambda file: (file.name == "app-config.js", file.name))
        return b"\n".join(file.read_bytes() for file in names)
