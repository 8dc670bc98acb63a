"""Write files and directories so that a reader finds all of them or nothing, even after a crash or a power cut.

The new content is written under a temporary name in the same folder, forced to the disk (fsync), and put in its place
by a rename. The temporary name holds the process id and a random part, so that two writers never share one.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

UNFINISHED = ".unfinished-"
"""Each temporary name begins with it, so that `remove_unfinished` recognises what a killed process left."""


def write_whole(data: bytes | memoryview, target: Path, *, mode: int = 0o666) -> None:
    """Write or replace a file; if that fails, the file that was there before stays.

    Args:
        data: the content of the file.
        target: its path; its folder is made if it does not exist.
        mode: the permissions of the file, from its first byte on; the umask reduces them.

    Raises:
        OSError: the file cannot be written; the error names `target`.
    """
    with whole_file(target, mode=mode) as temporary:
        temporary.write_bytes(data)


@contextmanager
def whole_file(target: Path, *, mode: int = 0o666) -> Iterator[Path]:
    """Write or replace a file that is too large for memory, or that a library writes by its path.

    Args:
        target: the path of the file; its folder is made if it does not exist.
        mode: the permissions of the file, from its first byte on; the umask reduces them.

    Yields:
        The path of an empty file to write to, with the suffixes of `target`. It replaces `target` when the block ends.
        If the block raises, it is removed, and the file that was there before stays.

    Raises:
        OSError: the file cannot be written; the error names `target`.
    """
    temporary = _beside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        yield temporary
        _sync(temporary)
        os.replace(temporary, target)
        sync_folder(target.parent)
    except OSError as error:
        raise _renamed(error, temporary, target) from error
    finally:
        _remove(temporary)


@contextmanager
def whole_directory(target: Path) -> Iterator[Path]:
    """Fill a directory that replaces `target` when the block ends.

    Replacing a directory takes two renames: a process that is killed between them leaves no `target`.

    Args:
        target: the path of the directory; its parent is made if it does not exist.

    Yields:
        An empty directory of the same name, on the same file system. If the block raises, it is removed, and the
        directory that was there before stays.

    Raises:
        OSError: a file or the directory cannot be written; the error names the path that it was meant to have.
    """
    scratch = _beside(target)
    staged, replaced = scratch / "new" / target.name, scratch / "old"
    try:
        staged.mkdir(parents=True)
        yield staged
        sync_all(staged)
        _replace_directory(staged, target, replaced)
        sync_folder(target.parent)
    except OSError as error:
        raise _renamed(error, staged, target) from error
    finally:
        _remove(scratch)


def remove_directory(directory: Path) -> None:
    """Remove a directory with all that it holds; from its first moment on, nobody finds a part of it.

    It gets a temporary name first. A network disk keeps a file that another process has open (as `.nfsXXXX`), and with
    it the directory; what cannot be removed now stays under that name until `remove_unfinished` succeeds.

    Args:
        directory: its path; nothing happens if it does not exist.

    Raises:
        OSError: the directory cannot be renamed, and is as it was.
    """
    hidden = _beside(directory)
    with suppress(FileNotFoundError):
        directory.rename(hidden)
    _remove(hidden)


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files and directories that killed processes left in a folder.

    What the disk does not let go stays for the next time; its name says that it is nothing to rely on.

    Args:
        folder: no other process may write to it at the same time.
    """
    for left in folder.glob(f"{UNFINISHED}*"):
        _remove(left)


def sync_all(folder: Path) -> None:
    """Wait until everything below a folder is on the disk.

    Raises:
        OSError: a file cannot be written; the disk may be full.
    """
    for path in (folder, *folder.rglob("*")):
        _sync(path)


def sync_folder(folder: Path) -> None:
    """Wait until the names of the files in a folder are on the disk; Windows has no way to ask for that.

    Raises:
        OSError: the folder cannot be read.
    """
    _sync(folder)


def _beside(target: Path) -> Path:
    """Return a new temporary path in the folder of `target`; libraries see the same suffixes."""
    return target.with_name(f"{UNFINISHED}{os.getpid()}-{secrets.token_hex(4)}-{target.name[-40:]}")


def _sync(path: Path) -> None:
    # Windows forces a file to the disk only if it is open for writing, and opens no folder.
    if os.name == "posix" or path.is_file():
        descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _replace_directory(staged: Path, target: Path, replaced: Path) -> None:
    """Rename `staged` to `target`; what was there before goes to `replaced`, and comes back if that fails."""
    try:
        if target.exists():
            target.rename(replaced)
        staged.rename(target)
    except BaseException:
        if replaced.exists() and not target.exists():
            replaced.rename(target)
        raise


def _remove(path: Path) -> None:
    """Remove what has a temporary name, as far as the disk lets it."""
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _renamed(error: OSError, temporary: Path, target: Path) -> OSError:
    """Return the same error about `target`, if it is about the temporary path, a folder above it, or no path at all.

    If a copy fails, its error names the file that was read first, and then the one that could not be written.
    """
    if error.errno is None:
        return error  # A library raised it, with a text of its own.
    path = Path(error.filename2 or error.filename or target)
    if not path.is_relative_to(temporary):
        path = Path(error.filename or target)
    if path.is_relative_to(temporary):
        path = target / path.relative_to(temporary)
    elif path in temporary.parents:
        path = target
    return OSError(error.errno, error.strerror, str(path))


def write_or_check(path: Path, text: str, outdated: str, *, is_check: bool) -> int:
    """Write a file that is made from the code, or check that it is what the code makes now.

    Args:
        path: the file.
        text: what it should hold, in UTF-8.
        outdated: what to say on standard error where it holds anything else.
        is_check: whether to check the file instead of writing it.

    Returns:
        The exit status: 0, or 1 where the file is checked and holds anything else.
    """
    if not is_check:
        path.write_text(text, encoding="utf-8")
        return 0
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(f"{outdated}\n")
    return 1
