"""Which nuclei of another program belong to which tile."""

from __future__ import annotations

import os
from pathlib import Path

from app.cohort.sources import Source
from app.pipeline.errors import InvalidNuclei

SUFFIXES = (".geojson", ".json", ".labels.png", ".png", ".tif", ".tiff")
"""What follows the name of a tile, without its own suffix, in the name of its file of nuclei."""


def nuclei_of_tile(given: Path, tile: Source) -> Path:
    """Return the file with the nuclei of a tile.

    Args:
        given: that file itself; or a folder, in which it has the name of the tile, below the same sub-folders.
        tile: the tile, which may lie in the same folder.

    Raises:
        InvalidNuclei: the folder has no file for the tile, or several.
    """
    if not given.is_dir():
        return given
    itself = os.path.realpath(tile.path)
    paths = [given / f"{tile.stem}{suffix}" for suffix in SUFFIXES]
    found = [path for path in paths if path.is_file() and os.path.realpath(path) != itself]
    if len(found) == 1:
        return found[0]
    if not found:
        raise InvalidNuclei(f"There are no nuclei for it: {given} has no {tile.stem}{SUFFIXES[0]}, nor a label image.")
    raise InvalidNuclei(f"It has several files of nuclei: {', '.join(map(str, found))}. Keep one of them.")
