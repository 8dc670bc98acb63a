"""The one folder whose slides may be named over HTTP."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from app.jobs.errors import NotUnderRoot


def find_under(root: Path, wanted: str) -> str:
    """A file, folder or pattern under the root, as the command takes it.

    Links within the root are followed, as the command does, but not out of it.

    Args:
        root: the folder.
        wanted: relative to it, with slashes.

    Returns:
        An absolute path, or a pattern below one.

    Raises:
        NotUnderRoot: it leads out of the root, or to nothing; the text tells nothing of what is outside.
    """
    if "\0" in wanted or "\\" in wanted or wanted.startswith("/"):
        raise NotUnderRoot("The path must be relative to the root of the slides, with / between folders.")
    if ".." in wanted.split("/"):
        raise NotUnderRoot("The path may not hold '..'.")
    root = root.resolve()
    path = root / wanted
    if _exists(path):
        _check(root, [path])
        return str(path)
    pattern = os.path.join(glob.escape(str(root)), wanted)
    found = [Path(match) for match in glob.iglob(pattern, recursive=True)] if glob.has_magic(wanted) else []
    if not found:
        raise NotUnderRoot("There is no such path under the root of the slides.")
    _check(root, found)
    return pattern


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a part of it is too long to be a name, or may not be looked into
        return False


def _check(root: Path, found: Iterable[Path]) -> None:
    """Refuse what leads out of the root, in a folder too; raises as `find_under` does."""
    waiting, seen = list(found), set()
    while waiting:
        path = waiting.pop()
        real = path.resolve()
        if not real.is_relative_to(root):
            raise NotUnderRoot("The path leads out of the root of the slides, by a link.")
        if real in seen:
            continue
        seen.add(real)
        for parent, folders, files in os.walk(real):
            waiting += [Path(parent, name) for name in [*folders, *files] if os.path.islink(os.path.join(parent, name))]
