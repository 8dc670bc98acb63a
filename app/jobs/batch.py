"""What is known of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.pipeline.networks.backends import Precision

State = Literal["queued", "running", "finished", "failed", "cancelled"]


class Parameters(BaseModel):
    """How the slides of a batch are analysed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: str = Field(description="name of the bundle")
    mpp: float | None = Field(description="µm per pixel of every slide; null: as their files say")
    precision: Precision = Field(description="of the network that sorts the cells")
    regions: int = Field(description="how many files of regions were sent with it")
    patients: bool = Field(description="whether a table of patients was sent with it")


class Order(BaseModel):
    """What a batch is to do.

    Attributes:
        argument: the source as the command takes it: an absolute path or pattern.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    argument: str
    parameters: Parameters


class Failure(BaseModel):
    """A slide that could not be analysed."""

    slide: str = Field(description="its id in this batch")
    reason: str = Field(description="why")


class Progress(BaseModel):
    """How far a batch is, as the command says itself; what else it says is left out."""

    model_config = ConfigDict(frozen=True)

    slides: int = Field(default=0, description="in the batch, as far as they were counted")
    slides_done: int = Field(default=0, description="whose results are there")
    slides_failed: int = Field(default=0, description="that could not be analysed")
    tiles: int = Field(default=0, description="of the slides that were planned so far")
    tiles_done: int = Field(default=0, description="that were analysed")
    failures: tuple[Failure, ...] = Field(default=(), description="the slides that failed")


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch, as the database has it; all times are UTC.

    Attributes:
        by: name of the key that it was started with; None where no key is asked for.
        is_cancelling: somebody wants it ended.
        detail: why it failed.
        n_lost: how often the service died while it ran.
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
