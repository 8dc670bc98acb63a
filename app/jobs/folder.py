"""The folder of a batch: what was sent with it, and what the command writes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import ValidationError

from app.jobs.batch import Progress

TILES, REGIONS, PATIENTS, RESULTS = "tiles", "regions", "patients.csv", "results"
SAID = "said.txt"
"""What the command says on stderr."""
PROGRESS = "progress.json"
OWN = (PROGRESS, "manifest.json")
"""What the command keeps for itself, with paths of this machine."""
WORK = "work"
"""Folder of a slide that is not finished."""
FIRST = "index.html"
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
OTHER = "application/octet-stream"


class Told(Progress):
    """progress.json."""

    state: Literal["running", "finished"]


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A file that may be fetched.

    Attributes:
        name: below the folder of results, with slashes.
        bytes: how long it is.
        media_type: by its suffix.
    """

    name: str
    bytes: int
    media_type: str


def read_progress(folder: Path) -> Told | None:
    """How far the command is; None where it has not said so yet."""
    try:
        return Told.model_validate_json((folder / RESULTS / PROGRESS).read_bytes())
    except (OSError, ValidationError):
        return None


def media_type(name: str) -> str:
    """Of a result with this name."""
    return MEDIA_TYPES.get(PurePosixPath(name).suffix, OTHER)


def result_files(folder: Path) -> list[ResultFile]:
    """What may be fetched of a batch, the report of all slides first, the rest in the order of their names."""
    root = folder / RESULTS
    found = [(path.relative_to(root).as_posix(), path) for path in _files(root)]
    found.sort(key=lambda entry: (entry[0] != FIRST, "/" in entry[0], entry[0]))
    return [ResultFile(name, path.stat().st_size, media_type(name)) for name, path in found]


def result_file(folder: Path, name: str) -> Path | None:
    """One of `result_files` by its name; None where it is none of them."""
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
    """Whether a file is a result, by the parts of its path below the folder of results."""
    if any(not part or part.startswith(".") or {"\\", "\0"} & set(part) for part in parts):
        return False
    # slides/ID/work/… is of a slide that is not finished; a slide may be called `work` itself.
    return parts[0] not in OWN and WORK not in parts[2:-1]
