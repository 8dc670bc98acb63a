"""What is named on the command line → slides: files, folders and patterns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from app.pipeline.inputs import TILE_SUFFIXES
from app.shell.sources import Source, find_tiles

SLIDES = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".svslide", ".bif", ".czi", ".dcm")
"""Beside pictures; `open_slide` says what they really are."""
DICOM = ".dcm"


@dataclass(frozen=True, slots=True)
class Found:
    """One slide on disk.

    Attributes:
        slide: its id in this run.
        path: where it lies, absolute.
    """

    slide: str
    path: Path


def find_slides(given: Sequence[str]) -> list[Found]:
    """Every slide that the command line stands for, each once, in the order of first mention.

    A slide in DICOM has a file for each level: of the .dcm files of a folder, the first stands for all.

    Args:
        given: files; folders, which stand for every slide beneath them; glob patterns.

    Raises:
        typer.BadParameter: a folder or pattern stands for no slide.
        OSError: a folder cannot be read.
    """
    sources = _one_per_series(find_tiles(given, (*TILE_SUFFIXES, *SLIDES), "slide or tile"))
    stems = [source.stem.as_posix().replace("/", "--") for source in sources]
    # Many file systems do not tell A from a.
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
        found.append(Found(slide, source.path.resolve()))
    return found


def _one_per_series(sources: Sequence[Source]) -> list[Source]:
    folders: set[Path] = set()
    kept = []
    for source in sources:
        if source.path.suffix.lower() == DICOM and not source.is_named:
            if source.path.parent in folders:
                continue
            folders.add(source.path.parent)
        kept.append(source)
    return kept
