"""Directories that are there whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_directory(target: Path) -> Iterator[Path]:
    """Fill a directory that replaces `target` when the block ends well; when it does not, nothing is left of it.

    Args:
        target: the directory; its parent is made.

    Yields:
        Where to write: an empty directory of the same name, on the same file system.

    Raises:
        OSError: it cannot be written, say on a full disk; the error names the file where it was to be, in `target`,
            which is as it was before.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from error
    with scratch as beside:
        staged = Path(beside) / target.name
        try:
            staged.mkdir()
            yield staged
            if target.exists():
                # Aside, not away: what was there is deleted with the scratch, once the new is in its place.
                target.rename(Path(beside) / "replaced")
            staged.rename(target)
        except OSError as error:
            if error.errno is None:
                raise
            # Nobody can look into a scratch directory that is gone.
            file = str(error.filename or target).replace(str(staged), str(target))
            raise OSError(error.errno, error.strerror, file) from error
