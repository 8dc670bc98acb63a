"""The lock of a folder in which one process may work at a time.

It is a lock of the operating system on the file `.lock`: it ends with the process that holds it, even by kill -9. The
file itself stays.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout, lock_descriptor

from app.pipeline.errors import PipelineError

LOCK = ".lock"


class FolderLocked(PipelineError):
    """Another process works in the folder; the text says what to do."""


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder while the block runs.

    Args:
        folder: it is made if it does not exist.

    Raises:
        FolderLocked: another process holds the lock.
        OSError: the folder cannot be written, or its file system has no locks.
    """
    # A file that merely exists, as filelock would use where there are no locks, survives kill -9.
    lock = FileLock(folder / LOCK, blocking=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise FolderLocked(f"Another process is at work in {folder}; wait for it, or stop it.") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def turn_in(folder: Path) -> Iterator[None]:
    """Wait until no other process or thread is in such a block for the same folder, and run the block.

    The folder itself is locked, so no file is left in it. Windows cannot lock a folder, nor can some network disks; the
    block runs at once there.

    Args:
        folder: it must exist.

    Raises:
        OSError: the folder cannot be opened.
    """
    if os.name != "posix":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            lock_descriptor(descriptor)
        yield
    finally:
        os.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Whether a running process holds the lock of a folder; a folder that does not exist is not locked.

    Raises:
        OSError: the lock cannot be looked at.
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not lock_descriptor(descriptor, blocking=False)
    finally:
        os.close(descriptor)
