"""Runs programs as ``python WORDS`` runs them, without waiting for imports each time.

Importing torch and MONAI takes longer than a tiny training. This process imports them once; every program then runs in
a fork of it as the main program: with its own arguments, environment, folder, output files, exception hook, exit
handlers and exit status. Nothing of torch is used before the fork, so no thread is lost by it. What Python reads at its
own start is that of this process: PYTHONPATH, PYTHONWARNINGS. tests/programs.py speaks with it.

One request a line on standard input, one answer a line, both JSON. {"words", "env", "cwd", "stdout", "stderr"} starts a
program; the answer is its process id. {"status": process id} asks for its exit status, negative for a signal; the
answer is null as long as it runs.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

MONAI = ("ignite.engine", "matplotlib.backends.backend_agg", "monai.bundle", "torch.utils.tensorboard")
DYNAMO = "torch._dynamo"  # the first optimiser of a process imports it
OURS = ("data.sources", "handlers.decomposition_saver", "handlers.report_writer", "labelling.server.analysis")
# Of MONAI Label's environment. MONAI Label itself reads its settings from the environment when it is imported.
WEB = ("fastapi", "uvicorn", "SimpleITK", "highdicom")


def become(request: dict[str, Any]) -> list[str]:
    """Turn this process into the one that runs a program; returns the program's words."""
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    files = (os.devnull, 0, os.O_RDONLY), (request["stdout"], 1, append), (request["stderr"], 2, append)
    for name, descriptor, flags in files:
        opened = os.open(name, flags, 0o644)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    return request["words"]


def serve() -> list[str] | None:
    """Answer requests until the input ends; in a child that has become a program, return its words."""
    gc.freeze()  # else each child's garbage collection copies all memory that it shares with this process
    for line in sys.stdin:
        request = json.loads(line)
        if "status" in request:
            done, code = os.waitpid(request["status"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(code) if done else None
        else:
            answer = os.fork()
            if answer == 0:
                return become(request)
        print(json.dumps(answer), flush=True)
    return None


def run(words: list[str]) -> None:
    """Run a program as the main one of this process; ``words`` are those behind ``python``."""
    if words[0] == "-m":
        sys.path[0], sys.argv = os.getcwd(), ["-m", *words[2:]]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.path[0], sys.argv = str(Path(words[0]).parent), words
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])
    for module in (*MONAI, DYNAMO, *(f"monai_dgm.{name}" for name in OURS)):
        importlib.import_module(module)
    for module in WEB:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    program = serve()
    if program is not None:
        run(program)
