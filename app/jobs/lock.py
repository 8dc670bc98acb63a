"""Whether a command still works on a folder, as one may whose service was killed."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

LOCK = ".lock"
"""The command holds it, exclusively, while it works on the folder that it lies in."""


def is_locked(results: Path) -> bool:
    """Whether a process that lives holds the folder's lock.

    Args:
        results: folder that the command writes to; it need not be there.
    """
    try:
        file = os.open(results / LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False
