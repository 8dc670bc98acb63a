"""Find slides by a path that a client named; only paths below one folder are allowed."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from app.pipeline.errors import PipelineError


class NotUnderRoot(PipelineError):
    """The path does not lead to slides below the root; the text is safe to show to a client."""


def find_under(root: Path, wanted: str) -> str:
    """Return a file, folder or pattern below the root, as the command takes it.

    Links within the root are followed, as the command does. Links that lead out of it are refused.

    Args:
        root: the folder of all slides.
        wanted: a path or pattern relative to the root, with slashes.

    Returns:
        An absolute path, or a pattern below one.

    Raises:
        NotUnderRoot: the path leads out of the root, or to nothing. The text reveals nothing about other folders.
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
    except OSError:  # A part of the path is too long for a name, or a folder cannot be read.
        return False


def _check(root: Path, found: Iterable[Path]) -> None:
    """Raise NotUnderRoot if one of the paths, or a link below it, leads out of the root."""
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
