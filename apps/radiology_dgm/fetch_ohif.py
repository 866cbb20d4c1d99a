"""Download the prebuilt OHIF viewer from npm, once: `make ohif` calls this.

python apps/radiology_dgm/fetch_ohif.py

The version and its SHA-512 at npm are pinned. No code of the package is run here, and nothing is built.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "@ohif/app@3.13.2"
INTEGRITY = "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
FOLDER = Path(__file__).resolve().parent / ".ohif"
SECONDS = 600


class FetchError(RuntimeError):
    """The viewer cannot be downloaded or unpacked; the message is one line."""


def check_integrity(archive: Path, expected: str = INTEGRITY) -> None:
    """Compare the checksum of a package with the expected one (Subresource Integrity).

    Raises:
        FetchError: they differ.
    """
    digest = hashlib.sha512(archive.read_bytes()).digest()  # 50 MB
    found = "sha512-" + base64.b64encode(digest).decode()
    if found != expected:
        raise FetchError(f"{PACKAGE}: expected a package of the integrity {expected[:23]}..., got {found[:23]}...")


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack ``dist`` of a package into ``folder``; it appears there in one step. Returns ``folder/dist``.

    Raises:
        FetchError: the package has no ``dist``, or a member with a path outside of the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        try:
            with tarfile.open(archive) as package:
                package.extractall(temporary, filter="data")
        except (tarfile.TarError, OSError) as error:
            raise FetchError(f"{PACKAGE}: cannot be unpacked ({type(error).__name__})") from error
        made = Path(temporary) / "package" / "dist"
        if not (made / "index.html").is_file():
            raise FetchError(f"{PACKAGE}: expected a folder dist with index.html, there is none")
        if (folder / "dist").exists():
            os.rename(folder / "dist", Path(temporary) / "earlier")
        os.rename(made, folder / "dist")
    return folder / "dist"


def fetch(folder: Path = FOLDER) -> Path:
    """The viewer's folder ``dist``, downloaded if it is missing.

    Raises:
        FetchError: npm is not installed, or the download fails.
    """
    if (folder / "dist" / "index.html").is_file():
        return folder / "dist"
    npm = shutil.which("npm")
    if npm is None:
        raise FetchError(
            "npm is not installed (apt-get install npm); or unpack "
            f"{PACKAGE} yourself and set MONAI_DGM_OHIF_DIR to its dist"
        )
    with tempfile.TemporaryDirectory() as temporary:
        words = [npm, "pack", PACKAGE, "--silent", "--ignore-scripts", "--pack-destination", temporary]
        try:
            done = subprocess.run(words, timeout=SECONDS, capture_output=True, text=True, check=False, cwd=temporary)
        except subprocess.TimeoutExpired:
            raise FetchError(f"{PACKAGE}: npm took more than {SECONDS} seconds") from None
        archives = list(Path(temporary).glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise FetchError(f"{PACKAGE}: npm cannot download it ({last})")
        check_integrity(archives[0])
        return unpack(archives[0], folder)


def main() -> int:
    """Download the viewer and print its folder."""
    try:
        print(f"viewer: {fetch()}")
    except FetchError as error:
        print(f"ohif: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
