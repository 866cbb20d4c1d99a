"""Start Orthanc here with the real radiographs of the package, and the label app on it, for `make label-pacs`.

python apps/radiology_dgm/pacs.py [--simulated] [--port 8000] [--orthanc-port 8042] [--conf NAME VALUE ...]
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import start

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
PACKAGES = ("orthanc", "orthanc-dicomweb")
STARTING_SECONDS = 60.0


class PacsError(RuntimeError):
    """Orthanc cannot be installed or started; the message is one line."""


def orthanc_program() -> str | None:
    """Path of Orthanc; None if it is not installed with its DICOMweb plugin."""
    program = shutil.which("Orthanc") or shutil.which(
        "Orthanc", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
    )
    return program if program and PLUGIN.is_file() else None


def install_orthanc() -> None:
    """Install Orthanc from Debian's or Ubuntu's packages, if it is missing.

    Raises:
        PacsError: that is not possible; the message says what to do.
    """
    if orthanc_program():
        return
    advice = f"install Orthanc with its DICOMweb plugin: apt-get install {' '.join(PACKAGES)}"
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise PacsError(advice)
    # otherwise the package starts a server that is open to the network
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    words = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
    try:
        for step in (["apt-get", "update", "-qq"], words):
            if subprocess.run(step, env=quiet, check=False).returncode:
                raise PacsError(advice)
    finally:  # also where the installation failed half way
        disable_service()
    if not orthanc_program():
        raise PacsError(advice)
    print(f"installed: the packages {', '.join(PACKAGES)}; their own service is disabled", flush=True)


def disable_service() -> None:
    """Stop and disable the service of the packages that were just installed: it would be open to the network.

    Raises:
        PacsError: it is still enabled.
    """
    if not shutil.which("systemctl"):
        return
    subprocess.run(["systemctl", "disable", "--now", "orthanc"], check=False, capture_output=True)
    state = subprocess.run(["systemctl", "is-enabled", "orthanc"], check=False, capture_output=True, text=True)
    if state.stdout.strip() == "enabled":
        raise PacsError("the service orthanc of the packages is still enabled: systemctl disable --now orthanc")


def configuration(folder: Path, port: int, name: str) -> dict[str, Any]:
    """Configuration of Orthanc called ``name``: DICOMweb for this machine only, all files in ``folder``."""
    storage = str(folder / "storage")
    return {
        "Name": name,
        "StorageDirectory": storage,
        "IndexDirectory": storage,
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomServerEnabled": False,
        "HttpCompressionEnabled": False,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
    }


class Orthanc:
    """One Orthanc server.

    Args:
        folder: for its configuration, storage and log; it is kept.
        port: of its HTTP server; a free one by default.

    Raises:
        PacsError: not installed.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        program = orthanc_program()
        if program is None:
            raise PacsError(f"Orthanc is not installed ({' '.join(PACKAGES)})")
        self.program = program
        self.folder = folder
        self.port = port or free_port()
        self.name = f"monai-dgm {secrets.token_hex(8)}"  # no other Orthanc has it
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Address of its DICOMweb service."""
        return f"http://127.0.0.1:{self.port}/dicom-web"

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            PacsError: another program uses the port, or Orthanc does not answer.
        """
        require_free_port(self.port)
        (self.folder / "storage").mkdir(parents=True, exist_ok=True)
        settings = self.folder / "orthanc.json"
        settings.write_text(json.dumps(configuration(self.folder, self.port, self.name), indent=1), encoding="utf-8")
        with open(self.folder / "orthanc.log", "ab") as log:
            self.process = subprocess.Popen([self.program, str(settings)], stdout=log, stderr=log)
        deadline = time.monotonic() + STARTING_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.address}/studies?limit=1", timeout=5).read()
                if self._answers_itself():
                    return
                break
            except (OSError, ValueError):
                time.sleep(0.1)
        self.stop()
        raise PacsError(f"Orthanc does not start; {self.folder / 'orthanc.log'} says why")

    def _answers_itself(self) -> bool:
        """Whether the server at the port is this one, by its name."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/system", timeout=5) as answer:
            system = json.loads(answer.read())
        return isinstance(system, dict) and system.get("Name") == self.name

    def stop(self) -> None:
        """Stop it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def upload(self, content: bytes) -> None:
        """Add a DICOM file; an instance that is stored already stays as it is.

        Raises:
            PacsError: this server has ended, so that the port may be another's.
        """
        if self.process is None or self.process.poll() is not None:
            raise PacsError(f"Orthanc has ended; {self.folder / 'orthanc.log'} says why")
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/instances", data=content, method="POST")
        urllib.request.urlopen(request, timeout=60).read()


def free_port() -> int:
    """A free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def require_free_port(port: int) -> None:
    """Check that no program uses a port, so that nothing is sent to a server that is not ours.

    Raises:
        PacsError: the port is used, or may not be used.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that were closed do not count
        try:
            probe.bind(("", port))
        except OSError as error:
            advice = "give another with --port or --orthanc-port"
            raise PacsError(f"port {port} cannot be used ({error.strerror}); {advice}") from error


def load_sample(orthanc: Orthanc, simulated: bool = False) -> int:
    """Put radiographs (``start.sample_folder``) into Orthanc as DICOM; returns their number."""
    from monai_dgm.labelling.dicom_objects.digital_xray import write_dicom_sample

    sample = start.sample_folder(simulated)
    files = write_dicom_sample(sample, sample.with_name(f"{sample.name}-dicom"))
    for file in files:
        orthanc.upload(file.read_bytes())
    return len(files)


def main() -> int:
    """Start Orthanc and the app, and stop both together."""
    given = start.parse()
    folder = start.RUNS / ("orthanc" if given.simulated else "orthanc-examples")
    try:
        for port in (given.port, given.orthanc_port):
            require_free_port(port)
        install_orthanc()
        orthanc = Orthanc(folder, given.orthanc_port)
        orthanc.start()
    except PacsError as error:
        print(f"label-pacs: {error}", file=sys.stderr)
        return 1
    server: subprocess.Popen[bytes] | None = None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        print(f"archive: {orthanc.address}, {load_sample(orthanc, given.simulated)} radiographs", flush=True)
        environment = {"MONAI_DGM_STATE_DIR": f"{folder}-labels", **start.environment()}
        server = subprocess.Popen(start.command(orthanc.address, given.port, given.conf), env=environment)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        if server is not None and server.poll() is None:
            server.terminate()
            server.wait()
        orthanc.stop()


if __name__ == "__main__":
    sys.exit(main())
