"""The folder of a batch: the files that were sent with it, and the results that the command writes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from app.jobs.progress import PROGRESS

TILES, REGIONS, PATIENTS, RESULTS = "tiles", "regions", "patients.csv", "results"
STDERR = "stderr.txt"
"""What the command wrote to stderr."""
INTERNAL = (PROGRESS, "manifest.json")
"""Files that the command keeps for itself; they hold paths of this machine, so they are not results."""
WORK = "work"
"""The folder of a slide, below its results, until the slide is finished."""
FIRST = "index.html"
"""The report on all slides."""
MEDIA_TYPES = {
    ".csv": "text/csv",
    ".geojson": "application/geo+json",
    ".gz": "application/gzip",
    ".html": "text/html",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".tif": "image/tiff",
}
ANY = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A file of results that a client may fetch.

    Attributes:
        name: its path below the folder of results, with slashes.
        bytes: its length.
        media_type: its type, by its suffix.
    """

    name: str
    bytes: int
    media_type: str


def media_type(name: str) -> str:
    """Return the media type of a file of results, by its suffix."""
    return MEDIA_TYPES.get(PurePosixPath(name).suffix, ANY)


def result_files(folder: Path) -> list[ResultFile]:
    """List the results of a batch: the report on all slides first, the others by name."""
    root = folder / RESULTS
    found = [(path.relative_to(root).as_posix(), path) for path in _files(root)]
    found.sort(key=lambda named: (named[0] != FIRST, "/" in named[0], named[0]))
    return [ResultFile(name, path.stat().st_size, media_type(name)) for name, path in found]


def result_file(folder: Path, name: str) -> Path | None:
    """Return the path of a result by its name, or None if `result_files` does not list it."""
    parts = name.split("/")
    if not _is_shown(parts):
        return None
    path = folder / RESULTS
    for part in parts:
        path /= part
        if path.is_symlink():
            return None
    return path if path.is_file() else None


def _files(root: Path) -> Iterator[Path]:
    for parent, _, files in os.walk(root):
        above = Path(parent).relative_to(root).parts
        yield from (
            path for name in files if _is_shown([*above, name]) and not (path := Path(parent, name)).is_symlink()
        )


def _is_shown(parts: Sequence[str]) -> bool:
    """Whether a file is a result, judged by the parts of its path below the folder of results."""
    if any(not part or part.startswith(".") or {"\\", "\0"} & set(part) for part in parts):
        return False
    # slides/ID/work/… belongs to a slide that is not finished; the slide itself may be called `work`.
    return parts[0] not in INTERNAL and WORK not in parts[2:-1]
