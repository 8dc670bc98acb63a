"""What is named on the command line → tiles: files, folders and glob patterns."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from app.pipeline.inputs import TILE_SUFFIXES

OWN = (".overlay.png", ".labels.png", ".stages.png")
"""Pictures that are answers: a folder may hold them beside its tiles, and is analysed again."""
KINDS = "PNG, JPEG or TIFF"


@dataclass(frozen=True, slots=True)
class Source:
    """One tile on disk.

    Attributes:
        path: where it lies, as given or found.
        stem: of its answers, without suffix, below the folder for answers: its sub-folders when a folder was named.
        is_named: it was named itself, not by a folder or pattern.
    """

    path: Path
    stem: Path
    is_named: bool


def find_tiles(given: Sequence[str], suffixes: tuple[str, ...] = TILE_SUFFIXES, kinds: str = KINDS) -> list[Source]:
    """Every tile that the command line stands for, each once, in the order of first mention.

    Args:
        given: files, which need not be there; folders, which stand for every picture beneath them; glob patterns,
            where no file has such a name: a shell may not have expanded them.
        suffixes: of what folders and patterns stand for, in lower case.
        kinds: the same in words.

    Raises:
        typer.BadParameter: a folder or pattern stands for no tile, or a name is empty.
        OSError: a folder cannot be read.
    """
    first: dict[str, Source] = {}
    for name in given:
        for source in _sources(name, suffixes, kinds):
            first.setdefault(os.path.normcase(os.path.realpath(source.path)), source)
    return list(first.values())


def _sources(name: str, suffixes: tuple[str, ...], kinds: str) -> list[Source]:
    if not name:
        raise typer.BadParameter("a tile's name is empty.")
    path = Path(name)
    if path.is_dir():
        found = [Source(tile, tile.relative_to(path).with_suffix(""), is_named=False) for tile in _walk(path, suffixes)]
        if not found:
            raise typer.BadParameter(f"there is no {kinds} in the folder {name}.")
    elif glob.has_magic(name) and not os.path.lexists(name):
        matches = [Path(match) for match in glob.iglob(name, recursive=True)]
        found = [
            Source(tile, Path(tile.stem), is_named=False)
            for tile in sorted(matches, key=natural_order)
            if _is_tile(tile.name, suffixes) and tile.is_file()
        ]
        if not found:
            raise typer.BadParameter(f"no {kinds} matches the pattern {name}.")
    else:
        found = [Source(path, Path(path.stem), is_named=True)]
    return found


def _walk(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Tiles beneath a folder in natural order; links are followed, but not in a circle."""

    def refuse(error: OSError) -> None:
        raise error

    seen = set()
    found = []
    for parent, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        seen.add(os.path.realpath(parent))
        folders[:] = [
            name
            for name in sorted(folders)
            if name[0] != "." and os.path.realpath(os.path.join(parent, name)) not in seen
        ]
        found += [Path(parent, name) for name in files if _is_tile(name, suffixes)]
    return sorted(found, key=natural_order)


def _is_tile(name: str, suffixes: tuple[str, ...]) -> bool:
    lower = name.lower()
    return lower.endswith(suffixes) and not lower.endswith(OWN) and not lower.startswith(".")


def natural_order(path: Path) -> tuple[list[list[str | int]], str]:
    """Sort key of a path, in which 2 comes before 10; its spelling tells a from A, and 1 from 01."""
    return [_parts(part) for part in path.parts], str(path)


def _parts(text: str) -> list[str | int]:
    # Every second part is a number, so that like is compared with like.
    return [int(part) if i % 2 else part.casefold() for i, part in enumerate(re.split(r"(\d+)", text))]
