"""Begin a new file of the audit log; its first line continues the chain of the old file."""

from __future__ import annotations

import os
from pathlib import Path

from app.audit.chain import ROTATED, encode
from app.audit.log import MODE, last_of, locked, utc_now, write_line
from app.files import sync_folder


def rotate(path: Path) -> Path:
    """Move the lines of the log FILE to FILE.TIME, while services go on writing to FILE.

    A file of the log's name exists at every moment: a service that waits for the lock then finds the new file.

    Args:
        path: the log.

    Returns:
        The file that now holds the old lines.

    Raises:
        OSError: the new file cannot be made; the log has not changed.
    """
    with locked(path) as file:
        before, time = last_of(file, path), utc_now()
        old = path.with_name(f"{path.name}.{time.replace(':', '').replace('.', '')}")
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        new_file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, MODE)
        try:
            write_line(encode({"time": time, "event": ROTATED, "before": old.name}, before), new_file)
            os.link(path, old)
            os.replace(fresh, path)
            sync_folder(path.parent)
        finally:
            os.close(new_file)
            fresh.unlink(missing_ok=True)
    return old
