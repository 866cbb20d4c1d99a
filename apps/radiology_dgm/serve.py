"""MONAI Label's command, with one line that tells the address once the server answers: the last one of the start.

python apps/radiology_dgm/serve.py start_server --app apps/radiology_dgm --studies FOLDER --host 127.0.0.1 --port 8000
"""

from __future__ import annotations

import argparse
import http.client
import logging
import runpy
import sys
import threading
import time


def main() -> None:
    """Run it in this process."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-p", "--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_known_args()[0]
    if given.workers > 1:  # as the app does, but before anything is loaded
        print("radiology_dgm: expected one process (--workers 1); it serves many readers by threads", file=sys.stderr)
        sys.exit(2)
    port = given.port
    logging.getLogger("__main__").setLevel(logging.WARNING)  # of MONAI Label's command: a line for each argument
    threading.Thread(target=tell_address, args=(port,), daemon=True).start()
    runpy.run_module("monailabel.main", run_name="__main__", alter_sys=True)


def tell_address(port: int) -> None:
    """Wait until the server of this process answers, and print where."""
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/health")
            connection.getresponse().read()
            break
        except (OSError, http.client.HTTPException):
            time.sleep(0.2)
        finally:
            connection.close()
    time.sleep(0.2)  # after what the web server says of itself
    print(f"ready:   http://127.0.0.1:{port}/  (viewer: http://127.0.0.1:{port}/ohif/)", flush=True)


if __name__ == "__main__":
    sys.argv[0] = "monailabel"
    main()
