"""`python -m app.jobs.bound PARENT COMMAND…`: become the command, less urgent than the service, and end when it does.

A service that is killed cannot end its child. Linux can: it sends SIGTERM to this process when its parent dies, and
goes on to do so when the command has taken its place. Elsewhere the lock on the folder of results keeps two commands
from working on one batch.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

NICENESS = 10
"""Requests come first; a batch takes what they leave."""
PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Replace this process by the command.

    Args:
        parent: process id of the service, which may have died meanwhile.
        command: absolute path of the program, and its arguments.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("The service ended before the batch began.")
    os.nice(NICENESS)
    os.execv(command[0], command)  # noqa: S606 - no shell is meant


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
