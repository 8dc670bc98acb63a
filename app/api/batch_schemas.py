"""What a batch is asked with, and what is told of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from app.jobs.batch import Batch, Parameters, State
from app.jobs.folder import ResultFile
from app.jobs.progress import Progress
from app.pipeline.inputs import MPP_RANGE
from app.pipeline.networks.backend import Precision

MAX_TILES = 1000
"""Files of one upload; a folder that is named may hold more."""


class BatchForm(BaseModel):
    """Fields of the form that are not files."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="file, folder or pattern of slides and tiles, below the root that the service was started with",
    )
    bundle: str | None = Field(
        default=None, min_length=1, max_length=100, description="name of a bundle; default: the shipped one"
    )
    mpp: float | None = Field(
        default=None, ge=MPP_RANGE[0], le=MPP_RANGE[1], description="µm per pixel where the files do not say it"
    )
    precision: Precision = Field(default="fast", description="of the network that sorts the cells, as in POST /analyze")


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class BatchSummary(_Answer):
    """A batch."""

    id: str = Field(description="names it in /batches/{id}")
    state: State = Field(description="finished: its results are there, for all slides but those in `failures`")
    cancelling: bool = Field(description="it was cancelled; while it runs, that takes some seconds")
    created: datetime = Field(description="when it was asked for, UTC")
    started: datetime | None = Field(description="when work on it began; null: it waits")
    ended: datetime | None = Field(description="when it finished, failed or was cancelled")
    by: str | None = Field(description="name of the key that it was started with; null: no key was asked for")
    source: str = Field(description="the path, or how many tiles were sent")
    parameters: Parameters
    progress: Progress
    detail: str | None = Field(description="why it failed")


class ResultOut(_Answer):
    """A file of results."""

    name: str = Field(description="below the folder of the batch")
    url: str = Field(description="where to get it")
    bytes: int = Field(description="its length")
    media_type: str = Field(description="what it is")


class BatchOut(BatchSummary):
    """A batch, and its results so far."""

    results: list[ResultOut] = Field(description="the report of all slides first; those of each slide when it is done")


class BatchesOut(_Answer):
    """Batches, the newest first."""

    batches: list[BatchSummary] = Field(description="without their results")
    paths: bool = Field(description="whether a batch may name a `path`")
    next: str | None = Field(description="what `after` gives the older ones; null: there are none")


def batch_summary(batch: Batch) -> BatchSummary:
    """What a list tells of a batch."""
    return BatchSummary(**_told(batch))


def batch_out(batch: Batch, results: list[ResultFile]) -> BatchOut:
    """All that is told of a batch."""
    files = [
        ResultOut(
            name=file.name,
            url=f"/batches/{batch.id}/results/{quote(file.name)}",
            bytes=file.bytes,
            media_type=file.media_type,
        )
        for file in results
    ]
    return BatchOut(**_told(batch), results=files)


def _told(batch: Batch) -> dict[str, Any]:
    same = ("id", "state", "created", "started", "ended", "by", "progress", "detail")
    return {
        **{name: getattr(batch, name) for name in same},
        "cancelling": batch.is_cancelling,
        "source": batch.order.source,
        "parameters": batch.order.parameters,
    }
