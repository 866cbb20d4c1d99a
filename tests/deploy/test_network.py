"""The files of `deploy` as they are, on a network of two machines (network namespaces): nginx with TLS, the service's
command, a login server, and a user on the other machine.
"""

from __future__ import annotations

import configparser
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apps.conftest import write_studies

pytest.importorskip("monailabel", reason="MONAI Label is not installed (pip install -e '.[label]')")
from tests.apps.realm import CLIENT, PASSWORD

pytestmark = pytest.mark.service

SERVER, USER = "10.99.0.1", "10.99.0.2"
SECONDS = 600.0  # on a machine that is busy
PROXY = """
daemon off;
pid nginx.pid;
error_log stderr crit;
events {{}}
http {{
    include {deploy}/nginx.conf;
    server {{ # the login server, which is another machine in a hospital
        listen 8443 ssl;
        ssl_certificate tls/fullchain.pem;
        ssl_certificate_key tls/privkey.pem;
        location / {{ proxy_pass http://127.0.0.1:8081; }}
    }}
}}
"""


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


@pytest.fixture(scope="module")
def network() -> Iterator[tuple[str, str]]:
    """Names of two network namespaces, one for each machine, with a cable between them."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and ip (apt-get install iproute2)")
    mark = secrets.token_hex(3)
    server, user = f"dgm-server-{mark}", f"dgm-user-{mark}"
    try:
        for name in (server, user):
            run("ip", "netns", "add", name)
        run("ip", "link", "add", f"s{mark}", "netns", server, "type", "veth", "peer", f"u{mark}", "netns", user)
        for name, link, address in ((server, f"s{mark}", SERVER), (user, f"u{mark}", USER)):
            run("ip", "-n", name, "address", "add", f"{address}/24", "dev", link)
            for one in (link, "lo"):
                run("ip", "-n", name, "link", "set", one, "up")
        yield server, user
    except subprocess.CalledProcessError as error:
        pytest.skip(f"network namespaces are not permitted here: {error.stderr.decode().strip()}")
    finally:
        for name in (server, user):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder ``tls`` with a certificate of the server's address."""
    if shutil.which("openssl") is None or shutil.which("nginx") is None:
        pytest.skip("openssl or nginx is not installed (apt-get install nginx openssl)")
    folder = tmp_path_factory.mktemp("nginx") / "tls"
    folder.mkdir()
    names = ["-subj", "/CN=labels.example.org", "-addext", f"subjectAltName=IP:{SERVER}"]
    files = ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files)
    return folder


def service(deploy: Path, repository: Path, studies: Path, state: Path, tls: Path) -> tuple[list[str], dict[str, str]]:
    """Command and variables of the service, as its files have them, on this machine's folders."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(deploy / "monai-dgm.service")
    lines = (deploy / "environment.example").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    given |= {
        "STUDIES": str(studies),
        "MONAI_DGM_STATE_DIR": str(state),
        "MONAI_DGM_PUBLIC_URL": f"https://{SERVER}",
        "MONAI_LABEL_AUTH_REALM_URI": f"https://{SERVER}:8443/realms/test",
        "SSL_CERT_FILE": str(tls / "fullchain.pem"),
    }
    command = unit["Service"]["ExecStart"].replace("${STUDIES}", given["STUDIES"])
    command = command.replace("/opt/monai-dgm/.venv-label/bin/python", sys.executable)
    return shlex.split(command.replace("/opt/monai-dgm", str(repository))), given


@pytest.fixture(scope="module")
def server(
    network: tuple[str, str], certificate: Path, repository: Path, decomposer_weights: Path, tmp_path_factory: Any
) -> Iterator[str]:
    """Address of the server on its network."""
    deploy, folder = repository / "deploy", tmp_path_factory.mktemp("server")
    inside = ["ip", "netns", "exec", network[0]]
    (certificate.parent / "nginx.conf").write_text(PROXY.format(deploy=deploy))
    redirects = [f"https://{SERVER}/login/callback", f"https://{SERVER}/ohif/callback"]
    realm = [sys.executable, "-m", "tests.apps.realm", "8081", f"https://{SERVER}:8443/realms/test", *redirects]
    command, given = service(deploy, repository, write_studies(folder / "studies"), folder / "state", certificate)
    models = {"MONAI_DGM_DECOMPOSER": str(decomposer_weights), "MONAI_DGM_BUNDLES": str(folder), "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **given, **models, "PYTHONPATH": str(repository)}
    proxy = ["nginx", "-p", str(certificate.parent), "-c", str(certificate.parent / "nginx.conf")]
    with open(folder / "log", "wb") as log:
        started = [
            subprocess.Popen([*inside, *words], env=environment, stdout=log, stderr=log, cwd=repository)
            for words in (proxy, realm, command)
        ]
    try:
        ask = [*inside, "curl", "-sf", "--cacert", str(certificate / "fullchain.pem"), f"https://{SERVER}/health"]
        deadline = time.monotonic() + SECONDS
        while subprocess.run(ask, capture_output=True, check=False).returncode:
            ended = [process.args for process in started if process.poll() is not None]
            assert not ended and time.monotonic() < deadline, (ended, (folder / "log").read_text()[-2000:])
            time.sleep(0.5)
        yield f"https://{SERVER}"
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(30)
        assert "rita" not in (folder / "log").read_text()


def test_a_user_on_another_machine(server: str, network: tuple[str, str], certificate: Path) -> None:
    words = ["ip", "netns", "exec", network[1], sys.executable, str(Path(__file__).with_name("client.py"))]
    environment = {**os.environ, "SSL_CERT_FILE": str(certificate / "fullchain.pem")}
    done = subprocess.run([*words, server, PASSWORD], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["port 8000"] == found["port 8081"] == "ConnectionRefusedError"  # only nginx is on the network
    assert found["plain"] == [301, f"{server}/"]
    assert found["login"] == {"enabled": True, "client_id": CLIENT, "realm": f"{server}:8443/realms/test"}
    assert found["hsts"] and found["stranger"] == 401 and found["metrics"] == 404 and found["other host"] == 400
    assert found["reader"] == "rita" and found["audit for a reader"] == 403
    assert found["guesses"] == [401, 503]  # refused, and soon not even asked
    assert found["logins that begin"] == [302, 503]
    assert found["form"] and found["page"] == [200, True]
    assert found["cookies"] == ["__Host-monai-dgm"] and found["cookie is secure"]
    assert (found["label by cookie"], found["label of a foreign page"]) == (200, 403)


def test_the_service_is_one_that_systemd_takes(repository: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    words = ["systemd-analyze", "verify", "--man=no", str(repository / "deploy" / "monai-dgm.service")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    wrong = [
        line for line in done.stderr.splitlines() if "monai-dgm.service" in line and "is not executable" not in line
    ]
    assert not [line for line in wrong if "Unknown" in line or "Failed to parse" in line or "ignoring" in line], wrong
