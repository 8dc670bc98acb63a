"""What was sent with a batch for its slides, patients and regions, is given to the slides before the batch is queued.

The client knows its files by names that a disk may not take, and several files may share one. Here the client's names
are still known. What is kept has the ids of the slides, so that the command, which runs later, has nothing to guess.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.answer.csv_table import csv_table
from app.cohort.patients import COLUMNS, patients_of_slides
from app.cohort.regions import regions_of_slides, without_suffix
from app.cohort.sources import NoSuchTile, SlideSource, find_slides
from app.jobs.folder import PATIENTS, REGIONS, TILES


def give_to_slides(
    folder: Path, argument: str, tiles: Mapping[str, str], regions: Mapping[str, str]
) -> tuple[str, ...]:
    """Give the patients and regions in the folder of a new batch to its slides.

    Args:
        folder: the folder of the batch, with the files that were sent. Files of regions get the ids of their slides as
            names, and so do the rows of the table of patients.
        argument: the path or pattern that stands for the slides, if no tiles were sent.
        tiles: for each file in tiles/ the name that the client gave it.
        regions: for each file in regions/ the name that the client gave it.

    Returns:
        Warnings about slides, patients and regions that do not belong to each other.

    Raises:
        InvalidParameter: the table of patients cannot be used, or a name may mean several slides.
        OSError: a file cannot be read or written.
    """
    has_patients = (folder / PATIENTS).exists()
    if not has_patients and not regions:
        return ()
    slides = _uploaded(folder / TILES, tiles) if tiles else _found(argument)
    warnings = []
    if has_patients:
        patients, doubts = patients_of_slides(folder / PATIENTS, slides)
        (folder / PATIENTS).write_bytes(csv_table(COLUMNS, patients.items()))
        warnings += doubts
    if regions:
        warnings += _name_regions(folder / REGIONS, slides, regions)
    return tuple(warnings)


def _uploaded(folder: Path, tiles: Mapping[str, str]) -> list[SlideSource]:
    return [
        SlideSource(name, folder / name, Path("/", *(part for part in re.split(r"[/\\]", given) if part.strip("."))))
        for name, given in tiles.items()
    ]


def _found(argument: str) -> list[SlideSource]:
    try:
        return find_slides([argument])
    except NoSuchTile as error:  # Its text has the path of the root.
        raise NoSuchTile("There is no slide or tile at this path.") from error


def _name_regions(folder: Path, slides: Sequence[SlideSource], regions: Mapping[str, str]) -> list[str]:
    """Name each file of regions as its slide, and remove the others; return warnings about these."""
    given = list(regions.values())
    if len(slides) == len(given) == 1:
        given = [f"{slides[0].slide}{_suffix(given[0])}"]  # There is nothing to choose, whatever the file is called.
    of_slide, warnings = regions_of_slides(given, slides)
    sent = folder.rename(folder.with_name(f"{folder.name}-sent"))
    folder.mkdir()
    stored = dict(zip(given, regions, strict=True))
    for slide, name in of_slide.items():
        (sent / stored[name]).rename(folder / f"{slide}{_suffix(name)}")
    shutil.rmtree(sent)
    return warnings


def _suffix(name: str) -> str:
    return name[len(without_suffix(name)) :]
