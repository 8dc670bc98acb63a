"""What a user names → tiles and slides: files, folders and glob patterns."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from app.pipeline.errors import InvalidParameter
from app.pipeline.headers.inputs import PICTURE_SUFFIXES, SLIDE_SUFFIXES, TILE_SUFFIXES

DICOM = ".dcm"
KINDS = "PNG, JPEG or TIFF"
MAX_ID_BYTES = 200
"""Longest id of a slide that is made of its name; most disks take names of 255 bytes."""


class NoSuchTile(InvalidParameter):
    """What a user named stands for no tile or slide; the text says why."""


@dataclass(frozen=True, slots=True)
class Source:
    """One tile or slide on disk.

    Attributes:
        path: its file, as it was named or found.
        stem: path of its answers without a suffix, below the folder for answers. It keeps the sub-folders of a folder
            that was named.
        is_named: whether the file itself was named, instead of a folder or pattern.
    """

    path: Path
    stem: Path
    is_named: bool


STDIN = Source(Path("stdin"), Path("stdin"), is_named=True)
"""What `-` stands for: the tile whose bytes come on standard input. It is no file of that name."""


def find_tiles(given: Sequence[str], suffixes: tuple[str, ...] = TILE_SUFFIXES, kinds: str = KINDS) -> list[Source]:
    """Return every tile that the command line names, each once, in the order of first mention.

    Args:
        given: files, which need not exist; folders, for every picture below them; and glob patterns that no file has as
            its name, because a shell may not have expanded them; `-` for standard input.
        suffixes: suffixes of the files that folders and patterns stand for, in lower case.
        kinds: the same in words, for messages.

    Raises:
        NoSuchTile: a folder or pattern stands for no tile, or a name is empty.
        OSError: a folder cannot be read.
    """
    first: dict[str, Source] = {}
    for name in given:
        for source in _sources(name, suffixes, kinds):
            key = "-" if source is STDIN else os.path.normcase(os.path.realpath(source.path))
            first.setdefault(key, source)
    return list(first.values())


def _sources(name: str, suffixes: tuple[str, ...], kinds: str) -> list[Source]:
    if not name:
        raise NoSuchTile("a tile's name is empty.")
    if name == "-":
        return [STDIN]
    path = Path(name)
    if path.is_dir():
        found = [Source(tile, tile.relative_to(path).with_suffix(""), is_named=False) for tile in _walk(path, suffixes)]
        if not found:
            raise NoSuchTile(f"there is no {kinds} in the folder {name}.")
    elif glob.has_magic(name) and not os.path.lexists(name):
        matches = [Path(match) for match in glob.iglob(name, recursive=True)]
        found = [
            Source(tile, Path(tile.stem), is_named=False)
            for tile in sorted(matches, key=natural_order)
            if _is_tile(tile.name, suffixes) and tile.is_file()
        ]
        if not found:
            raise NoSuchTile(f"no {kinds} matches the pattern {name}.")
    else:
        found = [Source(path, Path(path.stem), is_named=True)]
    return found


def _walk(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the tiles below a folder in natural order. Links are followed, but not in a circle."""

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
    return lower.endswith(suffixes) and not lower.endswith(PICTURE_SUFFIXES) and not lower.startswith(".")


def natural_order(path: Path) -> tuple[list[list[str | int]], str]:
    """Return a sort key of a path: 2 comes before 10, and the spelling decides between a and A, and 1 and 01."""
    return [_text_and_numbers(name) for name in path.parts], str(path)


def _text_and_numbers(name: str) -> list[str | int]:
    # Every second piece is a number, so that text is compared with text and number with number.
    return [int(piece) if i % 2 else piece.casefold() for i, piece in enumerate(re.split(r"(\d+)", name))]


@dataclass(frozen=True, slots=True)
class SlideSource:
    """One slide on disk.

    Attributes:
        slide: id of the slide in the batch, which names its folder of results. It is valid UTF-8.
        path: its file, as an absolute path without links, which need not be UTF-8.
        named: the absolute path under which the user knows it.
    """

    slide: str
    path: Path
    named: Path


def find_slides(given: Sequence[str]) -> list[SlideSource]:
    """Return every slide that the command line names, each once, in the order of first mention.

    A slide in DICOM has one file for each level. The first .dcm file of a folder stands for all of them.

    Args:
        given: files; folders, for every slide below them; and glob patterns.

    Raises:
        NoSuchTile: a folder or pattern stands for no slide.
        OSError: a folder cannot be read.
    """
    if "-" in given:
        raise NoSuchTile("a slide cannot be read from standard input (-): name its file.")
    sources = _one_per_series(find_tiles(given, (*TILE_SUFFIXES, *SLIDE_SUFFIXES), "slide or tile"))
    stems = [_slide_id(source.stem) for source in sources]
    # Many file systems take A and a for one name.
    often = Counter(stem.casefold() for stem in stems)
    found, used = [], {stem.casefold() for stem in stems if often[stem.casefold()] == 1}
    for source, stem in zip(sources, stems, strict=True):
        if often[stem.casefold()] == 1:
            slide = stem
        else:
            name = f"{stem}{source.path.suffix}"
            numbered = chain([name], (f"{name}-{i}" for i in count(2)))
            slide = next(one for one in numbered if one.casefold() not in used)
            used.add(slide.casefold())
        found.append(SlideSource(slide, source.path.resolve(), Path(os.path.abspath(source.path))))
    return found


def _slide_id(stem: Path) -> str:
    """Return the id of a slide. Bytes that are not UTF-8 are escaped, and a long name is cut and gets a checksum."""
    name = readable(stem.as_posix().replace("/", "--"))
    data = name.encode()
    if len(data) <= MAX_ID_BYTES:
        return name
    checksum = hashlib.sha256(data).hexdigest()[:8]
    return f"{data[: MAX_ID_BYTES - len(checksum) - 1].decode(errors='ignore')}-{checksum}"


def readable(name: str) -> str:
    r"""Return a name as valid text: what is not UTF-8 in it becomes an escape such as \udcff."""
    return name.encode(errors="backslashreplace").decode()


def _one_per_series(sources: Sequence[Source]) -> list[Source]:
    """Return the sources with one .dcm file for each folder, unless a file was named itself."""
    folders: set[Path] = set()
    kept = []
    for source in sources:
        if source.path.suffix.lower() == DICOM and not source.is_named:
            if source.path.parent in folders:
                continue
            folders.add(source.path.parent)
        kept.append(source)
    return kept
