"""`python -m app.jobs.launch PARENT COMMAND…`: become the command, with low priority, and end when the service ends.

A service that is killed cannot end its child. On Linux, the kernel sends SIGTERM to this process when its parent dies,
also after the command has replaced this program. On other systems the child may live on: then the lock on the folder of
results keeps a second command out.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

NICENESS = 10
"""The lowered priority of the command, so that requests are answered first."""
PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Replace this process by the command.

    Args:
        parent: the process id of the service, which may have died in the meantime.
        command: the absolute path of the program, and its arguments.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("The service ended before the batch began.")
    os.nice(NICENESS)
    os.execv(command[0], command)  # noqa: S606 - no shell is meant


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
