"""Files too large to be held in memory that are there whole or not at all; `app.files` has the same for small ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A name to write to, beside the target; it takes the target's place when the block ends without an error.

    Raises:
        OSError: it cannot be put there.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
