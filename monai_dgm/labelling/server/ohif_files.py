"""Files of the prebuilt OHIF viewer (npm's ``@ohif/app``), served at another address than it was built for.

Its page, scripts and styles expect to be served from ``/``. The few places that contain this address are replaced while
a file is read; the files on disk stay as npm unpacked them.
"""

from __future__ import annotations

import json
import mimetypes
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from monai_dgm.labelling.server.http_errors import UnavailableError, UnknownError

__all__ = ["OHIFFiles", "ServedFile"]

_PART = re.compile(r"[A-Za-z0-9_@+-][A-Za-z0-9_.@+-]*")  # no hidden file, no "..", no backslash
_HASHED = re.compile(r"(\.bundle\.)?[0-9a-f]{16}\.(js|wasm|woff2)")  # names that contain a hash of the content
# text that contains the address: in the module loaders of the viewer and its workers, and for fonts
_ADDRESSES = {".js": ('__webpack_require__.p = "{}"',), ".css": ("url({}",)}
_MEDIA_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}
ADVICE = "the viewer is not installed: make ohif fetches it, or set ohif_dir to the dist folder of npm's @ohif/app"


@dataclass(frozen=True)
class ServedFile:
    """One file for a browser.

    Attributes:
        content: bytes of the file.
        media_type: of the content.
        lasting: whether the file of this name never changes, so that a browser may keep it.
    """

    content: bytes
    media_type: str
    lasting: bool


class OHIFFiles:
    """Files of the viewer and of our extension.

    Args:
        folder: ``dist`` of npm's ``@ohif/app``; it may be added later.
        extension: folder of scripts that are joined into ``app-config.js``; the script of this name comes last.
        prefix: start of the address, such as ``/ohif/``.
        login: "authority" and "client_id" of the viewer's OpenID Connect login; None where users do not log in.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        extension: str | os.PathLike[str],
        prefix: str = "/ohif/",
        login: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.extension = Path(extension)
        self.prefix = prefix
        self.login = None if login is None else dict(login)

    def installed(self) -> bool:
        """Whether the viewer is installed."""
        return (self.folder / "index.html").is_file()

    def get(self, path: str) -> ServedFile:
        """A file by its path after the prefix. A path without a file name is a view of the viewer's one page.

        Raises:
            UnavailableError: the viewer is not installed.
            UnknownError: there is no such file.
        """
        if not self.installed():
            raise UnavailableError(ADVICE)
        if path == "app-config.js":
            return ServedFile(self._configuration(), "text/javascript", False)
        parts = [part for part in path.split("/") if part]
        if not parts or "." not in parts[-1]:  # such as viewer?StudyInstanceUIDs=...
            return ServedFile(self._page(), "text/html; charset=utf-8", False)
        file = self._file(parts)
        content = file.read_bytes()
        for text in _ADDRESSES.get(file.suffix, ()):
            content = content.replace(text.format("/").encode(), text.format(self.prefix).encode())
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
        login = f"window.monaiDgmLogin = {json.dumps(self.login)};".encode()
        return b"\n".join([login, *(file.read_bytes() for file in names)])
