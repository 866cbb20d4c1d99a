"""Start the label app on a folder, a DICOMweb archive, or the real radiographs of the package, for `make label`.

python apps/radiology_dgm/start.py [--studies FOLDER_OR_ADDRESS] [--simulated] [--port 8000] [--conf NAME VALUE ...]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from monai_dgm.utils.bundle_files import in_wheel

APP = Path(__file__).resolve().parent
# of a repository, ignored by git; of an installed package, in the working folder
RUNS = Path("monai-dgm", "label").absolute() if in_wheel() else APP.parent.parent / "runs" / "label"
SAMPLE_PATIENTS, SAMPLE_SIZE = 40, 512
# nothing is downloaded at the start, and the app keeps the scores up to date itself
ENVIRONMENT = {
    "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
    "MONAI_LABEL_DATASTORE_AUTO_RELOAD": "false",
    "HF_HUB_OFFLINE": "1",
}


def sample_folder(simulated: bool = False) -> Path:
    """Folder of ``manifest.csv`` and ``images/`` to try the app on, which is made if it is missing.

    Args:
        simulated: the embedded sample, which takes a minute; otherwise a copy of the package's real radiographs, as the
            app writes into the folder.
    """
    if not simulated:
        return _copy_examples(RUNS / "examples")
    from monai_dgm.data.simulator.sample import write_sample

    return write_sample(RUNS / f"sample-{SAMPLE_PATIENTS}x{SAMPLE_SIZE}", SAMPLE_PATIENTS, SAMPLE_SIZE)


def _copy_examples(folder: Path) -> Path:
    from monai_dgm.data.examples import example_radiographs

    if not folder.is_dir():
        partial = folder.with_name(f"{folder.name}-{os.getpid()}.partial")
        shutil.copytree(example_radiographs(), partial, ignore=shutil.ignore_patterns("*.py", "__pycache__", ".*"))
        partial.rename(folder)
    return folder


def command(studies: str, port: int, conf: list[list[str]]) -> list[str]:
    """The command that starts the server, on this machine's loopback address."""
    words = [sys.executable, str(APP / "serve.py"), "start_server", "--app", str(APP), "--studies", studies]
    words += ["--host", "127.0.0.1", "--port", str(port)]
    for name, value in conf:
        words += ["--conf", name, value]
    return words


def environment() -> dict[str, str]:
    """Environment variables of the server; those that are set already are not changed."""
    return {**ENVIRONMENT, **os.environ}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Arguments of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", default="", help="folder, or DICOMweb address; real radiographs by default")
    parser.add_argument("--simulated", action="store_true", help="the embedded sample in place of the real radiographs")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--orthanc-port", type=int, default=8042, help="of Orthanc, for pacs.py")
    parser.add_argument("--conf", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    return parser.parse_args(arguments)


def main() -> None:
    """Replace this process by the server."""
    given = parse()
    studies = given.studies or str(sample_folder(given.simulated) / "images")
    if not studies.startswith(("http://", "https://")) and not Path(studies).is_dir():
        sys.exit(f"label: expected a folder of radiographs, or the address of an archive, got {studies}")
    print(f"studies: {studies}", flush=True)
    os.execve(sys.executable, command(studies, given.port, given.conf), environment())


if __name__ == "__main__":
    main()
