"""The JSON of requests and answers about the review."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.pipeline.cell_classifier import CellType, ClassifierSource, ClassifierValidation, Lineage
from app.pipeline.errors import InvalidParameter
from app.pipeline.manifest import NAME_PATTERN
from app.review.candidates import ReviewTile
from app.review.names import (
    MAX_PERSON,
    MAX_TYPE,
    MAX_TYPES,
    SUGGESTIONS,
    NamedType,
    checked_text,
    checked_type,
)
from app.review.reviews import Progress

MAX_NAMES = 5000
"""Names in one request: as many as the plot has cells."""
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def _reviewer(name: str) -> str:
    try:
        return checked_text(name, "The name of a reviewer", MAX_PERSON)
    except InvalidParameter as error:
        raise ValueError(str(error)) from error


def _type(name: str) -> str:
    try:
        return checked_type(name)
    except InvalidParameter as error:
        raise ValueError(str(error)) from error


Reviewer = Annotated[str, AfterValidator(_reviewer)]
TypeName = Annotated[str, Field(min_length=1, max_length=2 * MAX_TYPE), AfterValidator(_type)]


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class NameIn(_Sent):
    """What a reviewer names one cell."""

    cell: str = Field(min_length=1, max_length=64, description="Id of the cell, as GET /reviews/next gives it.")
    type: str | None = Field(
        max_length=2 * MAX_TYPE,
        description="Name of a type of the list; null takes the reviewer's name of the cell away.",
    )


class NamesIn(_Sent):
    """What a reviewer names cells."""

    names: list[NameIn] = Field(
        min_length=1,
        max_length=MAX_NAMES,
        description="The names of 1 to 5,000 cells, each cell once. All of them are kept, or none.",
    )
    reviewer: Reviewer | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_PERSON,
        description="Who names the cells, 1 to 80 printable characters. If the service asks for keys, the name of the "
        "key is the reviewer, and another name is refused. Without keys and without this field it is `reviewer`.",
    )


class TypeIn(_Sent):
    """A cell type of the list."""

    name: TypeName = Field(
        description="Name of the type, 1 to 60 printable characters. It must not begin with =, +, - or @, nor end in "
        "*, and must not be what answers call cells without a type: Outlier, No type, Cluster 0. A colon is taken as "
        "QuPath does: what stands before it is the type that this one is derived from."
    )
    color: str | None = Field(
        default=None,
        pattern="^#[0-9A-Fa-f]{6}$",
        description="Color of the type as #rrggbb. Without it, it keeps its color, or gets one that no type has.",
    )
    lineage: Lineage | None = Field(
        default=None, description="Whether cells of the type count as myeloid or erythroid cells; null for neither."
    )
    was: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_TYPE,
        description="Name that the type has had until now, if it gets another one. Its cells keep it.",
    )


class TypesIn(_Sent):
    """The list of types, in the order in which digit keys stand for them."""

    types: list[TypeIn] = Field(max_length=MAX_TYPES, description="The types, at most 32, which replace the list.")


class ClassifierIn(_Sent):
    """Which bundle is to be taught."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    name: str = Field(
        pattern=NAME_PATTERN,
        description="Name of the new bundle: up to 64 small letters, digits, - and _. If there is such a bundle, it "
        "must be a classifier of the same bundle, and gets a new version.",
    )
    source: str | None = Field(
        default=None,
        alias="from",
        max_length=100,
        description="Name of the bundle whose cells are named; null for the service's default bundle.",
    )
    groups: Literal["patients", "slides"] | None = Field(
        default=None,
        description="What the groups of the tiles are, for the answer to say. null says nothing about them: they are "
        "then called tiles if each has one tile, and else groups. Without any group, tiles are left out.",
    )
    leave_out: list[TypeName] = Field(
        default_factory=list,
        max_length=MAX_TYPES,
        description="Names of types that are not learned, such as those that too few cells have. The names of their "
        "cells are kept.",
    )


class TypeOut(_Answer):
    """A cell type of the list."""

    name: str = Field(description="Name of the type.")
    color: str = Field(description="Color of the type as #rrggbb.")
    lineage: Lineage | None = Field(
        description="Whether cells of the type count as myeloid or erythroid cells; null for neither."
    )


class TypeProgress(TypeOut):
    """A cell type of the list, and how many cells have it."""

    count: int = Field(
        ge=0,
        description="Number of cells that have the type: by most reviewers, and of equally many by the one who named "
        "the cell last.",
    )


class ReviewTileOut(_Answer):
    """A tile that was put into the review."""

    sha256: Sha256 = Field(description="SHA-256 of the uploaded file.")
    name: str = Field(description="What people call the tile; empty if nobody said.")
    group: str | None = Field(
        description="What is left out together with the tile when a classifier is validated, such as its patient or "
        "slide; null for the tile alone."
    )
    width: int = Field(description="Width of the tile in px.")
    height: int = Field(description="Height of the tile in px.")
    mpp: float | None = Field(description="Scale of the tile in µm per pixel; null if it is not known.")
    added: datetime = Field(description="Time at which it was put in, UTC.")
    by: str | None = Field(description="Name of the key that it came with; null if the service asks for no key.")
    n_cells: int = Field(ge=0, description="Number of its cells that can be named, which are those but outliers.")


class TileProgress(ReviewTileOut):
    """A tile that was put into the review, and how far it is."""

    n_named: int = Field(ge=0, description="Number of its cells that have a name.")


class ReviewerOut(_Answer):
    """Somebody who has named cells."""

    name: str = Field(description="Name of the reviewer.")
    n_names: int = Field(ge=1, description="Number of cells that have a name by this reviewer.")


class AgreementOut(_Answer):
    """How far two reviewers agree on the cells that both have named."""

    reviewers: tuple[str, str] = Field(description="The names of the two reviewers.")
    n_cells: int = Field(ge=1, description="Number of cells that both have named.")
    n_same: int = Field(ge=0, description="Number of these cells to which both gave the same type.")
    kappa: float | None = Field(
        le=1,
        description="Cohen's κ: 1 is full agreement, 0 is what chance alone gives; null if both gave one and the same "
        "type to all of the cells.",
    )


class EarlierOut(_Answer):
    """Cells that an earlier version of the bundle found. They are kept, and are not part of the review."""

    n_cells: int = Field(ge=0, description="Number of these cells.")
    n_named: int = Field(ge=0, description="Number of these cells that have a name.")
    message: str = Field(description="What can be done with them, in sentences.")


class ReviewedBundle(_Answer):
    """The bundle that found the cells of the review."""

    name: str = Field(description="Name of the bundle.")
    sha256: Sha256 = Field(description="SHA-256 that identifies the cells which the bundle finds.")
    n_clusters: int = Field(description="Number of its clusters.")
    unusable: str | None = Field(
        description="Why no cells of this bundle can be named, in a sentence; null if they can be."
    )


class ProgressOut(_Answer):
    """How far the review is."""

    bundle: ReviewedBundle
    reviewer: str = Field(description="Name of the reviewer that this request is taken to come from.")
    types: list[TypeProgress] = Field(description="The types that people have named, in their order; none at first.")
    suggestions: list[TypeOut] = Field(description="Types of a differential count that the list may begin with.")
    tiles: list[TileProgress] = Field(description="The tiles of the review, in the order in which they were put in.")
    reviewers: list[ReviewerOut] = Field(description="Those who have named cells.")
    agreement: list[AgreementOut] = Field(description="How far each two reviewers agree who have a cell in common.")
    n_cells: int = Field(ge=0, description="Number of cells that can be named.")
    n_named: int = Field(ge=0, description="Number of cells that have a name.")
    n_disagreed: int = Field(ge=0, description="Number of cells to which reviewers gave different types.")
    earlier: EarlierOut | None = Field(
        description="Cells that an earlier version of the bundle found; null if there are none."
    )


class SuggestedType(_Answer):
    """A type that the classifier which was taught on the names so far suggests for a cell."""

    type: str = Field(description="Name of the type.")
    probability: float = Field(ge=0, le=1, description="Probability of the type, 0 to 1.")


class GivenName(_Answer):
    """The type that a reviewer gave to a cell."""

    reviewer: str = Field(description="Name of the reviewer.")
    type: str = Field(description="Name of the type.")


class ReviewCellOut(_Answer):
    """A cell to look at."""

    id: str = Field(description="Id of the cell, by which POST /reviews names it.")
    tile: Sha256 = Field(description="SHA-256 of the tile that the cell lies in.")
    cluster: int = Field(ge=0, description="The most probable cluster of the cell.")
    probability: float = Field(ge=0, le=1, description="Probability of that cluster, 0 to 1.")
    type: str | None = Field(description="The type that this reviewer has given to the cell; null if there is none.")
    suggested: list[SuggestedType] = Field(
        description="The types that the classifier suggests, the most probable first; none without a classifier."
    )
    names: list[GivenName] = Field(
        description="What all reviewers have named the cell, if kind is disagreed; otherwise none, so that no reviewer "
        "sees what another one thinks."
    )
    x: float = Field(description="Place of the cell in the plot of GET /reviews/plot, to the right.")
    y: float = Field(description="Place of the cell in the plot of GET /reviews/plot, upwards.")
    nucleus: str = Field(description="The nucleus alone on white, base64 of a PNG of 32 × 32 px.")
    field: str = Field(description="What lies round the nucleus, 64 px at half size, base64 of a PNG of 32 × 32 px.")


class NextOut(_Answer):
    """Cells to look at next."""

    cells: list[ReviewCellOut] = Field(description="The cells, the first one first.")
    n_left: int = Field(ge=0, description="Number of cells of this kind that come after these.")
    learned_from: int | None = Field(
        description="Number of named cells that the suggestions were learned from; null if there is no classifier."
    )
    reason: str | None = Field(description="Why there are no cells, in a sentence; null if there are some.")


class PlacedCellOut(_Answer):
    """A cell in the plot."""

    id: str = Field(description="Id of the cell.")
    x: float = Field(description="Place on the first principal component of the features, in standard units.")
    y: float = Field(description="Place on the second principal component of the features, in standard units.")
    cluster: int = Field(ge=0, description="The most probable cluster of the cell.")
    type: str | None = Field(description="The type that this reviewer has given to the cell; null if there is none.")


class PlotOut(_Answer):
    """Where the cells of the review lie in the space of their features."""

    cells: list[PlacedCellOut] = Field(description="All cells, or 5,000 of them, always the same ones.")
    n_cells: int = Field(ge=0, description="Number of all cells of the review.")


class DeletedOut(_Answer):
    """What was deleted."""

    n_cells: int = Field(ge=0, description="Number of cells that were deleted.")
    n_names: int = Field(ge=0, description="Number of names that were deleted.")


class ImportedOut(_Answer):
    """What became of the objects of a GeoJSON file."""

    n_named: int = Field(ge=0, description="Number of cells that the objects name.")
    n_changed: int = Field(ge=0, description="Number of these cells that had no name or another one before.")
    n_unmatched: int = Field(
        ge=0, description="Number of objects with a name that lie on no nucleus and near none, or hold none."
    )
    unmatched: list[str] = Field(description="What was not used and why, in sentences.")


class ClassifierOut(_Answer):
    """A bundle that was taught, and how right it is."""

    name: str = Field(description="Name of the bundle.")
    version: str = Field(description="Version of the bundle: 1, or one more than before.")
    sha256: Sha256 = Field(description="SHA-256 of its manifest.")
    types: tuple[CellType, ...] = Field(description="The types that it knows.")
    measurements: tuple[str, ...] = Field(
        description="The measurements that it looks at besides the features; none if they do not help."
    )
    neighbours: bool = Field(description="Whether it looks at the features of the four nearest cells as well.")
    threshold: float = Field(
        ge=0, le=1, description="A cell whose most probable type is less probable than this gets no type."
    )
    types_warning: str | None = Field(
        description="Why the figures are better than those of a new tile, in a sentence; null if they are not."
    )
    validation: ClassifierValidation
    source: ClassifierSource


def tile_out(tile: ReviewTile) -> ReviewTileOut:
    """Return a tile as an answer shows it."""
    return ReviewTileOut(
        sha256=tile.sha256,
        name=tile.name,
        group=tile.group,
        width=tile.width,
        height=tile.height,
        mpp=tile.mpp,
        added=tile.added,
        by=tile.by,
        n_cells=tile.n_cells,
    )


def type_out(one: NamedType) -> TypeOut:
    """Return a type as an answer shows it."""
    return TypeOut(name=one.name, color=one.color, lineage=one.lineage)


def progress_out(progress: Progress, reviewer: str, n_clusters: int, unusable: str | None) -> ProgressOut:
    """Return how far a review is.

    Args:
        progress: of the review.
        reviewer: whom the request is taken to come from.
        n_clusters: number of clusters of the bundle.
        unusable: why no cells of the bundle can be named; None if they can be.
    """
    pairs = zip(progress.types, progress.counts, strict=True)
    return ProgressOut(
        bundle=ReviewedBundle(
            name=progress.review.bundle, sha256=progress.review.sha256, n_clusters=n_clusters, unusable=unusable
        ),
        reviewer=reviewer,
        types=[TypeProgress(**dict(type_out(one)), count=count) for one, count in pairs],
        suggestions=[type_out(one) for one in SUGGESTIONS],
        tiles=[
            TileProgress(**dict(tile_out(tile)), n_named=progress.named_of_tile.get(tile.sha256, 0))
            for tile in progress.tiles
        ],
        reviewers=[ReviewerOut(name=name, n_names=n) for name, n in progress.reviewers.items()],
        agreement=[
            AgreementOut(reviewers=one.reviewers, n_cells=one.n_cells, n_same=one.n_same, kappa=one.kappa)
            for one in progress.agreements
        ],
        n_cells=progress.n_cells,
        n_named=progress.n_named,
        n_disagreed=progress.n_disagreed,
        earlier=_earlier(progress),
    )


def _earlier(progress: Progress) -> EarlierOut | None:
    if not progress.earlier_cells:
        return None
    return EarlierOut(
        n_cells=progress.earlier_cells,
        n_named=progress.earlier_named,
        message=f"The bundle '{progress.review.bundle}' has changed since, and finds and describes cells anew. Put the "
        "tiles in again; GET /reviews/export gives the earlier names of a tile, and POST /reviews/import gives them to "
        "its new cells.",
    )
