"""Files that are there whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file beside the one that it replaces when the block ends well; when it does not, nothing is left of it.

    Args:
        path: the file; its directory is made.

    Yields:
        Where to write: in the same directory, with the same suffix.

    Raises:
        OSError: it cannot be written, say on a full disk; the error names `path`, which is as it was before.
    """
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError) and error.errno is not None:
            # What fails on an open file does not say on which.
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
