"""Append lines to the audit log: several processes take turns by a lock, and each line is forced to the disk."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

from app.audit.chain import Link, encode, last_link
from app.files import sync_folder

log = logging.getLogger(__name__)

MODE = 0o600
"""Only the owner may read the log, because it shows who looked at which tile."""
TAIL_BYTES = 1 << 18
"""How many bytes are read from the end of the log; two lines are far shorter."""
LOCK_LIMIT_S = 5.0
"""How long to wait for another process to finish its line, in seconds."""
LOCK_PAUSE_S = 0.002


class NotWritten(OSError):
    """A line cannot be written to the audit log; the text says why."""


class AuditLog:
    """An append-only file of chained lines; several threads and processes may use it at once.

    Args:
        path: the path of the log. Only `open` makes the file: once it is gone, no line can be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failure: str | None = None
        """Why the last line could not be written; None if it was written."""

    def open(self) -> None:
        """Make the file if it does not exist, and set `failure` if a line could not be written now."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, MODE))
            sync_folder(self.path.parent)
            with locked(self.path) as file:
                if last_of(file, self.path).is_cut:
                    log.warning("the last line of the audit log %s was cut short; the next one records that", self.path)
        except OSError as error:
            self._failed(error)

    def append(self, content: Mapping[str, Any]) -> None:
        """Write one line and wait until it is on the disk.

        Args:
            content: the fields of the line; they become JSON, after the time.

        Raises:
            NotWritten: the line cannot be written. The log has not changed, and `failure` keeps the reason until a
                line can be written.
        """
        try:
            with locked(self.path) as file:
                before = last_of(file, self.path)
                line = encode({"time": utc_now(), **content}, before)
                write_line((b"\n" if before.is_cut else b"") + line, file)
        except OSError as error:
            raise self._failed(error) from error
        self.failure = None

    def check(self) -> None:
        """Make sure that a line can be written now, as far as this can be known before it is.

        If the last line could not be written, one that records the gap is written.

        Raises:
            NotWritten: no line can be written.
        """
        if self.failure is not None:
            self.append({"event": "writable again", "reason": self.failure})
            return
        try:
            with locked(self.path) as file:
                last_of(file, self.path)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> NotWritten:
        # Clients see `failure`, so the path of the log goes only to the service's own log.
        self.failure = f"The audit log cannot be written: {error.strerror or error}."
        log.error("%s (%s)", self.failure, self.path)
        return NotWritten(self.failure)


def utc_now() -> str:
    """Return the time in UTC, for example 2026-11-23T19:14:44.123Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Open the log for reading and appending, and keep other threads and processes out.

    Yields:
        The descriptor of the open file.

    Raises:
        OSError: the log does not exist, cannot be written, or stays locked.
    """
    deadline = time.monotonic() + LOCK_LIMIT_S
    while True:
        file = os.open(path, os.O_RDWR | os.O_APPEND)
        try:
            _lock(file, deadline)
            # While this process waited, another one may have put a new file in its place (`rotate`).
            if os.path.samestat(os.fstat(file), os.stat(path)):
                yield file
                return
        finally:
            os.close(file)


def _lock(file: int, deadline: float) -> None:
    """Lock an open file; the lock ends when the file is closed.

    The lock is on the log itself, not on a file beside it: `rotate` replaces the log under it.

    Raises:
        OSError: the deadline passed.
    """
    while not lock_descriptor(file, blocking=False):
        if time.monotonic() > deadline:
            raise OSError(errno.EAGAIN, f"another process has kept it locked for {LOCK_LIMIT_S:g} s")
        time.sleep(LOCK_PAUSE_S)


def last_of(file: int, path: Path) -> Link:
    """Return the link to which the next line must be attached.

    Args:
        file: the descriptor of the open log.
        path: the path of the log, for the error.

    Raises:
        OSError: the file is not an audit log.
    """
    size = os.fstat(file).st_size
    start = max(0, size - TAIL_BYTES)
    tail = os.pread(file, size - start, start)
    link = last_link(tail[tail.find(b"\n") + 1 :] if start else tail)
    if link is None:
        raise OSError(errno.EINVAL, f"{path.name} is not an audit log, or its end is damaged; move it away")
    return link


def write_line(data: bytes, file: int) -> None:
    """Append bytes to an open file and wait until they are on the disk.

    Raises:
        OSError: they cannot be written; the file has not changed.
    """
    size = os.fstat(file).st_size
    try:
        if os.write(file, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file)
    except OSError:
        # If this fails too, half a line stays, and the next line records that.
        with suppress(OSError):
            os.ftruncate(file, size)
        raise
