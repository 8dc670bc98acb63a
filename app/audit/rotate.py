"""Begin a new file of the log, whose first line goes on with the chain of the old one."""

from __future__ import annotations

import os
from pathlib import Path

from app.audit.chain import ROTATED, encode
from app.audit.log import MODE, last_of, locked, sync_folder, utc_now, write_line


def rotate(path: Path) -> Path:
    """Move what is in the log to FILE.TIME, while services go on writing to FILE.

    At every moment there is a file of the log's name: a service waits for the lock, then finds the new one.

    Returns:
        The old lines' file.

    Raises:
        OSError: it cannot be done, and the log is as it was.
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
            sync_folder(path)
        finally:
            os.close(new_file)
            fresh.unlink(missing_ok=True)
    return old
