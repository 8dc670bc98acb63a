"""Append to the log: locked, so that several processes may; synced, so that a line that was written stays."""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.audit.chain import Link, encode, last_link

if sys.platform != "win32":  # Settings ask for no log there.
    import fcntl

log = logging.getLogger(__name__)

MODE = 0o600
"""Who may read the log: it says who looked at which tile."""
TAIL_BYTES = 1 << 18
"""Read from the end of the log; far more than two of its lines."""
LOCK_LIMIT_S = 5.0
"""For another process to finish its line."""
LOCK_PAUSE_S = 0.002


class NotWritten(OSError):
    """A line cannot be written; the text names the log and says why."""


class AuditLog:
    """An append-only file of chained lines; safe to use from several threads and processes.

    Args:
        path: of the file. It is made by `open`, and by nothing else: once it is gone, no line can be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failure: str | None = None
        """Why the last line could not be written; None: it was."""

    def open(self) -> None:
        """Make the file if it is not there, and note in `failure` whether a line could be written now."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, MODE))
            sync_folder(self.path)
            with locked(self.path) as file:
                if last_of(file, self.path).is_cut:
                    log.warning("the last line of the audit log %s was cut short; the next one says so", self.path)
        except OSError as error:
            self._failed(error)

    def append(self, content: Mapping[str, Any]) -> None:
        """Write one line and wait until it is on the disk.

        Args:
            content: what it says; becomes JSON, after the time.

        Raises:
            NotWritten: it cannot be; the log is as it was before, and `failure` says why until a line can be written.
        """
        try:
            with locked(self.path) as file:
                before = last_of(file, self.path)
                line = encode({"time": utc_now(), **content}, before)
                write_line((b"\n" if before.is_cut else b"") + line, file)
        except OSError as error:
            raise self._failed(error) from error
        self.failure = None

    def retry(self) -> None:
        """Write a line that says there was a gap, if the last one could not be written.

        Raises:
            NotWritten: it still cannot be.
        """
        if self.failure is not None:
            self.append({"event": "writable again", "reason": self.failure})

    def _failed(self, error: OSError) -> NotWritten:
        # Where the log lies is for the service's own log alone.
        self.failure = f"The audit log cannot be written: {error.strerror or error}."
        log.error("%s (%s)", self.failure, self.path)
        return NotWritten(self.failure)


def utc_now() -> str:
    """As in 2026-11-23T19:14:44.123Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sync_folder(path: Path) -> None:
    """Let the name of a new file outlast a power cut, too."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Open the log for reading and appending, for one process at a time; yields its descriptor.

    Raises:
        OSError: it is not there, may not be written, or stays locked.
    """
    deadline = time.monotonic() + LOCK_LIMIT_S
    while True:
        file = os.open(path, os.O_RDWR | os.O_APPEND)
        try:
            _lock(file, deadline)
            # Another process may have put a new file in its place while this one waited.
            if os.path.samestat(os.fstat(file), os.stat(path)):
                yield file
                return
        finally:
            os.close(file)


def _lock(file: int, deadline: float) -> None:
    """Lock an open file; closing it gives the lock back.

    Raises:
        OSError: the deadline passed.
    """
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise OSError(errno.EAGAIN, f"another process has kept it locked for {LOCK_LIMIT_S:g} s") from None
            time.sleep(LOCK_PAUSE_S)


def last_of(file: int, path: Path) -> Link:
    """What the next line has to name.

    Raises:
        OSError: the file is no audit log.
    """
    size = os.fstat(file).st_size
    start = max(0, size - TAIL_BYTES)
    tail = os.pread(file, size - start, start)
    link = last_link(tail[tail.find(b"\n") + 1 :] if start else tail)
    if link is None:
        raise OSError(errno.EINVAL, f"what {path.name} ends with is not an audit log's; move it away")
    return link


def write_line(data: bytes, file: int) -> None:
    """Write all of it and sync, or leave the file as it was.

    Raises:
        OSError: it cannot be written.
    """
    size = os.fstat(file).st_size
    try:
        if os.write(file, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file)
    except OSError:
        # Half a line that stays is told of by the next one.
        with suppress(OSError):
            os.ftruncate(file, size)
        raise
