"""A command that runs jobs, with jobs that are forks of it and do not import everything again.

python tests/jobs/forked_jobs.py MODULE ARGUMENTS runs ``python -m MODULE ARGUMENTS``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from monai_dgm.jobs import runner
from tests.fork_server import run

FORKED_JOBS = __file__


def call(command: list[str], folder: Path, log: int, lock: int | None, environment: Mapping[str, str]) -> int:
    """Exit status of a job, in the place of the runner's function."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(folder)
        os.environ.update(environment)
        run(command[1:])
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    runner._call = call
    run(["-m", *sys.argv[1:]])
