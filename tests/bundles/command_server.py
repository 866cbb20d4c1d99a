"""Runs commands as ``python -m monai.bundle ARGS`` runs them, without waiting for imports each time.

Importing torch and MONAI takes longer than a tiny training. This process imports them once; every command then runs in
a fork of it as the main program: with its own arguments, environment, output files, exception hook, exit handlers and
exit status. Nothing of torch is used before the fork, so no thread is lost by it.

One request a line on standard input, JSON: {"commands": [{"args", "env", "stdout", "stderr"}...], "cwd", "timeout"}.
The commands of a request run side by side. One answer a line: their exit statuses, negative for a signal.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import sys
import time
from typing import Any

import ignite.engine  # noqa: F401
import matplotlib.backends.backend_agg  # noqa: F401
import monai.bundle  # noqa: F401
import torch._dynamo  # the first optimiser of a process imports it
import torch.utils.tensorboard  # noqa: F401

import monai_dgm.data.sources
import monai_dgm.handlers.decomposition_saver
import monai_dgm.handlers.report_writer  # noqa: F401


def become(command: dict[str, Any], cwd: str) -> None:
    """Turn this process into the one that runs ``command``."""
    for name, descriptor, flags in (
        (os.devnull, 0, os.O_RDONLY),
        (command["stdout"], 1, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (command["stderr"], 2, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        opened = os.open(name, flags, 0o644)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.update(command["env"])
    os.chdir(cwd)
    sys.path[0] = cwd  # as -m has it
    sys.argv = ["-m", *command["args"]]


def wait(pids: list[int], timeout: float) -> list[int]:
    """Exit statuses; what runs longer than ``timeout`` seconds is killed."""
    status: dict[int, int] = {}
    end = time.monotonic() + timeout
    while len(status) < len(pids):
        for pid in set(pids) - set(status):
            done, code = os.waitpid(pid, os.WNOHANG)
            if done:
                status[pid] = os.waitstatus_to_exitcode(code)
            elif time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return [status[pid] for pid in pids]


def serve() -> bool:
    """Answer requests until the input ends; True in a child that has become a command."""
    gc.freeze()  # else each child's garbage collection copies all memory that it shares with this process
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        pids = []
        for command in request["commands"]:
            pid = os.fork()
            if pid == 0:
                become(command, request["cwd"])
                return True
            pids.append(pid)
        print(json.dumps(wait(pids, request["timeout"])), flush=True)
    return False


if __name__ == "__main__" and serve():
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
