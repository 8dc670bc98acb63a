"""The folder of regions, or of nuclei: which of its files belongs to which slide."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from app.cohort.naming import Ambiguous, listed, shown_paths, slides_meant
from app.cohort.sources import SlideSource

SUFFIXES = (".geojson.gz", ".geojson", ".json")
ADVICE = "Name the file {}.geojson, with the folders that the slide lies in."


def regions_of_slides(
    names: Sequence[str], slides: Sequence[SlideSource], kind: str = "regions"
) -> tuple[dict[str, str], list[str]]:
    """Find the file of regions of each slide by the names of the files.

    Args:
        names: the names of the files, with the folders that they lie in.
        slides: the slides, at least one.
        kind: what the files hold, for messages: regions, or nuclei, whose files are named in the same way.

    Returns:
        For the id of each slide that has a file, its name; and warnings about files that belong to no slide.

    Raises:
        Ambiguous: a file may belong to several slides, or a slide has several files.
    """
    files: dict[str, list[str]] = {}
    for name in names:
        files.setdefault(without_suffix(name), []).append(name)
    meant = slides_meant(list(files), slides, f"the names of {kind}", ADVICE)
    of_slide: dict[str, str] = {}
    for slide, stems in meant.items():
        own = [name for stem in stems for name in files.pop(stem)]
        if len(own) > 1:
            shown = shown_paths(slides)[slide]
            raise Ambiguous(f"{shown} has several files of {kind}: {listed(own)}. Keep one of them.")
        if own:
            of_slide[slide] = own[0]
    unused = [name for own in files.values() for name in own]
    return of_slide, [f"These files of {kind} belong to no slide: {listed(unused)}."] if unused else []


def regions_in_folder(
    folder: Path, slides: Sequence[SlideSource], kind: str = "regions"
) -> tuple[dict[str, Path], list[str]]:
    """Find the file of regions of each slide in a folder and the folders below it.

    Args:
        folder: the folder.
        slides: the slides, at least one.
        kind: as for `regions_of_slides`.

    Returns:
        For the id of each slide, its file, which does not exist if there is none for the slide; and warnings about
        files that belong to no slide.

    Raises:
        Ambiguous: a file may belong to several slides, or a slide has several files.
        OSError: a folder cannot be read.
    """
    found, warnings = regions_of_slides(sorted(_files(folder)), slides, kind)
    missing = _missing_names(slides)
    return {slide.slide: folder / (found.get(slide.slide) or missing[slide.slide]) for slide in slides}, warnings


def without_suffix(name: str) -> str:
    """Return the name of a file of regions without its suffix: the name of a slide."""
    suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def _files(folder: Path) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise error

    for parent, _, files in os.walk(folder, onerror=refuse):
        for name in files:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield Path(parent, name).relative_to(folder).as_posix()


def _missing_names(slides: Sequence[SlideSource]) -> Mapping[str, str]:
    """Return for each id the shortest name of a file of regions that no other slide has."""
    paths = {slide: PurePosixPath(path) for slide, path in shown_paths(slides).items()}
    stems = [path.stem.casefold() for path in paths.values()]
    return {
        slide: f"{path.stem if stems.count(path.stem.casefold()) == 1 else path.with_suffix('')}.geojson"
        for slide, path in paths.items()
    }
