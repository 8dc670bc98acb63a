"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

_BINARY = getattr(os, "O_BINARY", 0)  # Windows would translate line breaks.


def write_whole(data: bytes, target: Path, *, mode: int = 0o666) -> None:
    """Write or replace a file; where it cannot be written, what was there before stays.

    Args:
        data: all of the file.
        target: its place.
        mode: who may read and write it, from its first byte on; less what the umask takes.

    Raises:
        OSError: it cannot be written.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, mode), "wb") as file:
            file.write(data)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what a process that was killed left while it wrote a file; no other may be at work in the folder.

    Raises:
        OSError: it cannot be removed.
    """
    for left in folder.glob(".*.tmp"):
        left.unlink(missing_ok=True)
