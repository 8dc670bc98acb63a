"""What is known about a batch, and the errors of batches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.jobs.progress import Progress
from app.pipeline.errors import PipelineError
from app.pipeline.headers.inputs import FrameName
from app.pipeline.networks.backend import Precision

State = Literal["queued", "running", "finished", "failed", "cancelled"]


class StoreUnavailable(PipelineError):
    """The database cannot be reached, or its disk is full."""


class BatchesUnavailable(PipelineError):
    """The settings ask for batches, and the service cannot run them; the text says why."""


class Parameters(BaseModel):
    """How the slides of a batch are analysed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: str = Field(description="The name of the bundle.")
    mpp: float | None = Field(
        description="Scale of every slide in µm per pixel, 0.05 to 4; null means that the files state it."
    )
    frame: FrameName = Field(
        default="bounds",
        description="What the coordinates of results and regions count from: `bounds` is the scanned part of a slide, "
        "which QuPath shows, or the canvas where the file states no bounds; `canvas` is the whole canvas.",
    )
    precision: Precision = Field(description="The precision of the network that sorts the cells into clusters.")
    map: str | None = Field(
        default=None, description="The measurement whose mean over the slide is drawn as a map; null if none is."
    )
    regions: int = Field(description="The number of files of regions that were sent with the batch.")
    patients: bool = Field(description="Whether a table of patients was sent with the batch.")


class Order(BaseModel):
    """What a batch is to do.

    Attributes:
        source: the slides as the client named them, or how many files it sent.
        argument: the slides as the command takes them: an absolute path or pattern.
        parameters: how they are analysed.
        warnings: which slides, patients and regions do not belong to each other, in sentences.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    argument: str
    parameters: Parameters
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as the database has it; all times are in UTC.

    Attributes:
        id: 32 hexadecimal digits; they name its folder too.
        state: what has become of it.
        created: when it was asked for.
        started: when it was first begun; None while it waits.
        ended: when it finished, failed or was cancelled.
        by: the name of the key that started it; None if the service asks for no key.
        order: what it is to do.
        progress: how far it is.
        is_cancelling: whether somebody cancelled it; a running batch takes some seconds to end.
        detail: why it failed.
        n_lost: how many times the service died while the batch ran.
    """

    id: str
    state: State
    created: datetime
    started: datetime | None
    ended: datetime | None
    by: str | None
    order: Order
    progress: Progress
    is_cancelling: bool
    detail: str | None
    n_lost: int
