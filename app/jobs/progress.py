"""progress.json: how far a batch is. `marrowscope batch` writes it, and the service reads it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.files import write_whole

PROGRESS = "progress.json"
"""The name of the file, in the folder of results."""


class Failure(BaseModel):
    """A slide that could not be analysed."""

    model_config = ConfigDict(frozen=True)

    slide: str = Field(description="The id of the slide in this batch.")
    reason: str = Field(description="Why it could not be analysed.")


class Change(BaseModel):
    """A slide that had results, or a part of them, from other inputs than it has now."""

    model_config = ConfigDict(frozen=True)

    slide: str = Field(description="The id of the slide in this batch.")
    reason: str = Field(description="What has changed since then.")


class Progress(BaseModel):
    """How far a batch is."""

    model_config = ConfigDict(frozen=True)

    slides: int = Field(default=0, description="The number of slides in the batch; 0 until they are counted.")
    slides_done: int = Field(default=0, description="The number of slides that have results.")
    slides_failed: int = Field(default=0, description="The number of slides that could not be analysed.")
    tiles: int = Field(default=0, description="The number of tiles of the slides that were planned so far.")
    tiles_done: int = Field(default=0, description="The number of tiles that were analysed.")
    waiting_since: datetime | None = Field(
        default=None,
        description="Time since which the batch has waited for the Dask scheduler or for a worker of it, UTC; null "
        "while it does not wait. It goes on by itself when they are back.",
    )
    failures: tuple[Failure, ...] = Field(default=(), description="The slides that could not be analysed.")
    changes: tuple[Change, ...] = Field(
        default=(),
        description="The slides whose file, regions or patient changed after an earlier run of the batch; what it had "
        "made of them was discarded, and they are analysed anew.",
    )


class ProgressFile(Progress):
    """The content of progress.json; fields that later versions add are ignored."""

    state: Literal["running", "finished"]


def write_progress(results: Path, progress: Progress, state: Literal["running", "finished"]) -> None:
    """Write how far the command is.

    Args:
        results: the folder of results.
        progress: how far it is.
        state: whether it still runs.

    Raises:
        OSError: the file cannot be written.
    """
    content = {"state": state, **progress.model_dump(mode="json")}
    write_whole((json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode(), results / PROGRESS)


def read_progress(results: Path) -> ProgressFile | None:
    """Read how far the command is; None if it has not written that yet.

    Args:
        results: the folder of results.
    """
    try:
        return ProgressFile.model_validate_json((results / PROGRESS).read_bytes())
    except (OSError, ValidationError):
        return None
