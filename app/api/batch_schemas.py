"""The JSON of the answers about batches."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from app.jobs.batch import Batch, Parameters, State
from app.jobs.folder import ResultFile
from app.jobs.progress import Progress


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class BatchSummary(_Answer):
    """A batch, without its results."""

    id: str = Field(description="Id of the batch, which names it in /batches/{id}.")
    state: State = Field(
        description="State of the batch. finished means that there are results of every slide but those in "
        "progress.failures."
    )
    cancelling: bool = Field(
        description="Whether the batch was cancelled. A running batch takes some seconds until it ends."
    )
    created: datetime = Field(description="Time at which it was asked for, UTC.")
    started: datetime | None = Field(description="Time at which its analysis began, UTC; null while it waits.")
    ended: datetime | None = Field(
        description="Time at which it finished, failed or was cancelled, UTC; null until then."
    )
    by: str | None = Field(
        description="Name of the key that it was asked for with; null if the service asks for no key."
    )
    source: str = Field(description="The path that it was asked for, or how many files were uploaded.")
    parameters: Parameters
    warnings: list[str] = Field(
        description="What may be a mistake in the table of patients or in the names of regions, in sentences: names "
        "that no slide of the batch has, and slides without a patient."
    )
    progress: Progress
    detail: str | None = Field(description="Why the batch failed, in a sentence; null if it did not.")


class ResultOut(_Answer):
    """A file of results."""

    name: str = Field(description="Path of the file below the folder of the batch.")
    url: str = Field(description="Address of the file, relative to the address of the batch.")
    bytes: int = Field(description="Length of the file in bytes.")
    media_type: str = Field(description="Media type of the file.")


class BatchOut(BatchSummary):
    """A batch, with its results so far."""

    results: list[ResultOut] = Field(
        description="The files of results: first the report of all slides; those of a slide when it is finished."
    )


class BatchesOut(_Answer):
    """Batches, the newest first."""

    batches: list[BatchSummary] = Field(description="The batches, without their results.")
    paths: bool = Field(description="Whether a batch may name a `path`.")
    next: str | None = Field(
        description="Value of the parameter `after` that gives older batches; null if there are none."
    )


def batch_summary(batch: Batch) -> BatchSummary:
    """Return what a list of batches shows of one."""
    return BatchSummary(
        id=batch.id,
        state=batch.state,
        cancelling=batch.is_cancelling,
        created=batch.created,
        started=batch.started,
        ended=batch.ended,
        by=batch.by,
        source=batch.order.source,
        parameters=batch.order.parameters,
        warnings=list(batch.order.warnings),
        progress=batch.progress,
        detail=batch.detail,
    )


def batch_out(batch: Batch, results: list[ResultFile]) -> BatchOut:
    """Return everything that a client sees of a batch.

    Args:
        batch: the batch.
        results: its files of results.
    """
    files = [
        ResultOut(
            name=file.name,
            url=f"{batch.id}/results/{quote(file.name)}",
            bytes=file.bytes,
            media_type=file.media_type,
        )
        for file in results
    ]
    return BatchOut(**dict(batch_summary(batch)), results=files)
