"""The endpoints of the review: tiles whose cells people name, the types that they name, and the names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from fastapi import Depends, File, HTTPException, Path, Query, Request, Response, UploadFile
from starlette.concurrency import run_in_threadpool

from app.answer.present import base64_pngs
from app.api.analyze import UPLOAD_TYPES, read_uploads
from app.api.bundles import AnalyzerDep, BundleQuery, SeedQuery
from app.api.http.keys import keyed_router, reviewer_of
from app.api.http.problems import declare
from app.api.review_schemas import (
    DeletedOut,
    GivenName,
    ImportedOut,
    NamesIn,
    NextOut,
    PlacedCellOut,
    PlotOut,
    ProgressOut,
    ReviewCellOut,
    ReviewTileOut,
    SuggestedType,
    TypesIn,
    progress_out,
    tile_out,
)
from app.pipeline.bundle.load import Bundle
from app.pipeline.crops import pictures, surroundings
from app.pipeline.errors import InvalidParameter
from app.pipeline.headers.inputs import MPP_RANGE
from app.pipeline.run import Analysis, Stages
from app.pipeline.types import Int64Array
from app.review.candidates import Candidates, Review, ReviewTile, check_reviewable, review_of
from app.review.errors import NotInReview
from app.review.names import (
    MAX_PERSON,
    MAX_TITLE,
    MAX_TYPE,
    CellName,
    NamedType,
    checked_text,
    disagreed,
    unused_color,
)
from app.review.queue import LISTED, Kind, Wanted, choose
from app.review.reviews import Reviews, Taught, named_by

GEOJSON = "application/geo+json"
MAX_SHOWN = 100
"""Largest number of cells with pictures in one answer."""
MAX_SUGGESTED = 3
MAX_PLOTTED = 5000
TILE_UPLOAD = {
    "requestBody": {"content": {"multipart/form-data": {"encoding": {"tile": {"contentType": UPLOAD_TYPES}}}}}
}
CELLS_UPLOAD = {"requestBody": {"content": {"multipart/form-data": {"encoding": {"cells": {"contentType": GEOJSON}}}}}}


def get_reviews(request: Request) -> Reviews:
    """Return the review of this service.

    Raises:
        HTTPException: 404, the service holds no review.
    """
    reviews: Reviews | None = request.app.state.reviews
    if reviews is None:
        raise HTTPException(404, "This service holds no review: it was started without MARROWSCOPE_REVIEWS_DIR.")
    return reviews


ReviewsDep = Annotated[Reviews, Depends(get_reviews)]
ReviewerQuery = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=MAX_PERSON,
        description="Who asks, 1 to 80 printable characters. If the service asks for keys, the name of the key is the "
        "reviewer, and another name is refused. Without keys and without this parameter it is `reviewer`.",
    ),
]
ShaQuery = Annotated[
    str, Query(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file of the tile, 64 hexadecimal digits.")
]


router = keyed_router(404, prefix="/reviews", tags=["review"])


@router.get("", response_description="The progress of the review.")
def show_review(
    request: Request,
    analyzer: AnalyzerDep,
    reviews: ReviewsDep,
    bundle: BundleQuery = None,
    reviewer: ReviewerQuery = None,
) -> ProgressOut:
    """Show how far the review is: types with counts, tiles, reviewers and how far they agree."""
    return _progress(reviews, analyzer.bundle(bundle), reviewer_of(request, reviewer))


def _progress(reviews: Reviews, bundle: Bundle, reviewer: str) -> ProgressOut:
    try:
        check_reviewable(bundle)
        unusable = None
    except InvalidParameter as error:
        unusable = str(error)
    return progress_out(reviews.progress(review_of(bundle)), reviewer, bundle.manifest.n_clusters, unusable)


@router.post(
    "",
    response_description="The names were kept, and this is the progress of the review now.",
    responses=declare(400, 408, 409, 413, 415),
)
def name_cells(
    request: Request, analyzer: AnalyzerDep, reviews: ReviewsDep, names: NamesIn, bundle: BundleQuery = None
) -> ProgressOut:
    """Name cells, or take names back. All names of a request are kept, or none."""
    reviewer, used = reviewer_of(request, names.reviewer), analyzer.bundle(bundle)
    given = {one.cell: one.type for one in names.names}
    if len(given) != len(names.names):
        raise InvalidParameter("A cell may occur only once in a request. Nothing was kept.")
    request.state.reviewed = {"n_names": reviews.store.set_names(given, reviewer, review_of(used))}
    return _progress(reviews, used, reviewer)


@router.put(
    "/types",
    response_description="The types were kept, and this is the progress of the review now.",
    responses=declare(400, 408, 409, 413, 415),
)
def set_types(
    request: Request,
    analyzer: AnalyzerDep,
    reviews: ReviewsDep,
    types: TypesIn,
    delete_names: Annotated[
        bool, Query(description="Whether the names of cells are deleted whose type is not in the new list.")
    ] = False,
    bundle: BundleQuery = None,
) -> ProgressOut:
    """Replace the list of cell types. A type that names cells cannot go, unless delete_names is true."""
    from app.review.store import TypeChange

    used = analyzer.bundle(bundle)
    before = {one.name: one for one in reviews.store.types()}
    changes: list[TypeChange] = []
    for one in types.types:
        old = before.get(one.was or one.name)
        color = one.color.lower() if one.color else old.color if old else None
        taken = [*(change.type for change in changes), *before.values()]
        changes.append(TypeChange(NamedType(one.name, color or unused_color(taken), one.lineage), one.was))
    reviews.store.set_types(changes, delete_names=delete_names)
    request.state.reviewed = {"n_types": len(changes)}
    return _progress(reviews, used, reviewer_of(request, None))


@router.post(
    "/tiles",
    status_code=201,
    response_description="The tile was put into the review.",
    responses={
        200: {"model": ReviewTileOut, "description": "The tile was in the review already, and nothing was changed."},
        **declare(400, 408, 413, 415, 504),
    },
    openapi_extra=TILE_UPLOAD,
)
async def add_tile(
    request: Request,
    response: Response,
    analyzer: AnalyzerDep,
    reviews: ReviewsDep,
    tile: Annotated[UploadFile, File(description="The tile as PNG, JPEG or TIFF, with 8 bits per channel.")],
    bundle: BundleQuery = None,
    mpp: Annotated[
        float | None,
        Query(
            ge=MPP_RANGE[0],
            le=MPP_RANGE[1],
            description="Scale of the tile in µm per pixel, 0.05 to 4. Without it, the scale that the file says is "
            "taken, and else the bundle's.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=MAX_TITLE,
            description="What people call the tile, 1 to 200 printable characters. Without it, it has no name: the "
            "name of the file is not kept, because it may be that of a patient.",
        ),
    ] = None,
    group: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=MAX_TITLE,
            description="What the tile belongs to, 1 to 200 printable characters: its patient, or else its slide. "
            "All tiles of a group are left out together when a classifier is validated.",
        ),
    ] = None,
) -> ReviewTileOut:
    """Put a tile into the review: it is analysed, and its cells but outliers can be named from then on."""
    used = analyzer.bundle(bundle)
    check_reviewable(used)
    title = "" if name is None else checked_text(name, "The name of a tile", MAX_TITLE)
    of_group = None if group is None else checked_text(group, "The name of a group", MAX_TITLE)
    data, _ = await read_uploads(request, tile)
    if request.app.state.audit_log is not None:
        request.state.upload = data

    def put_in(analysis: Analysis, stages: Stages, used: Bundle) -> tuple[ReviewTile, bool]:
        return reviews.add_tile(analysis, stages, used, title, of_group, request.state.key_name)

    kept, is_new = await analyzer.analyse_stages(data, bundle, mpp, put_in)
    request.state.reviewed = {"n_cells": kept.n_cells if is_new else 0}
    request.state.n_cells = kept.n_cells
    if not is_new:
        response.status_code = 200
    return tile_out(kept)


@router.delete("/tiles/{sha256}", response_description="The tile was taken out.")
def delete_tile(
    request: Request,
    reviews: ReviewsDep,
    sha256: Annotated[str, Path(description="SHA-256 of the file of the tile, 64 hexadecimal digits.")],
) -> DeletedOut:
    """Take a tile out of the review, with its cells and all of their names."""
    n_cells, n_names = reviews.store.delete_tile(sha256)
    request.state.tile_sha256 = sha256
    request.state.reviewed = {"n_cells": n_cells, "n_names": n_names}
    return DeletedOut(n_cells=n_cells, n_names=n_names)


@router.delete("/reviewers/{name:path}", response_description="The names were deleted.")
def delete_reviewer(
    request: Request,
    reviews: ReviewsDep,
    name: Annotated[str, Path(description="Name of the reviewer.")],
) -> DeletedOut:
    """Delete all names that a reviewer has given to cells."""
    n_names = reviews.store.delete_reviewer(name)
    request.state.reviewed = {"n_names": n_names}
    return DeletedOut(n_cells=0, n_names=n_names)


@router.get("/next", response_description="The cells.", responses=declare(504))
async def next_cells(
    request: Request,
    analyzer: AnalyzerDep,
    reviews: ReviewsDep,
    bundle: BundleQuery = None,
    n: Annotated[int, Query(ge=1, le=MAX_SHOWN, description="Largest number of cells, 1 to 100.")] = 30,
    cluster: Annotated[int | None, Query(ge=0, description="Number of a cluster; without it, cells of all.")] = None,
    kind: Annotated[
        Kind,
        Query(
            description="Which cells. `core` are those nearest to the mean of their cluster; `border` those with the "
            "smallest difference of their two largest cluster probabilities; `random` any. `uncertain` are those that "
            "a classifier is least sure of which learns from the names so far. `disagreed` are those that reviewers "
            "have named differently, `named` those that this reviewer has named; both come although they have names."
        ),
    ] = "core",
    type: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=MAX_TYPE,
            description="Name of a type. Only cells come that the classifier finds most probably of this type; among "
            "those of kind `disagreed`, only cells that a reviewer has given it, and among those of kind `named`, only "
            "cells that this reviewer has given it.",
        ),
    ] = None,
    skip: Annotated[int, Query(ge=0, le=10**6, description="Number of cells to leave out at the start.")] = 0,
    seed: SeedQuery = 0,
    cells: Annotated[
        str | None,
        Query(
            pattern=r"^[0-9a-f]{32}(,[0-9a-f]{32}){0,99}$",
            description="Ids of up to 100 cells, separated by commas. These cells come, named or not, and no others.",
        ),
    ] = None,
    reviewer: ReviewerQuery = None,
) -> NextOut:
    """Show cells that are worth looking at. Cells that this reviewer has named do not come again."""
    used, person = analyzer.bundle(bundle), reviewer_of(request, reviewer)
    check_reviewable(used)
    if cluster is not None and cluster >= used.manifest.n_clusters:
        raise InvalidParameter(f"cluster must be 0 to {used.manifest.n_clusters - 1}, found {cluster}.")
    review = review_of(used)
    needs_classifier = cells is None and (kind == "uncertain" or (type is not None and kind not in LISTED))
    # Learning takes seconds of a core: it waits for a worker, as an analysis does.
    taught = await analyzer.work(lambda: reviews.taught(review)) if needs_classifier else None

    def found() -> NextOut:
        chooser = _Chooser(reviews, review, person, taught if taught is not None else reviews.taught_before(review))
        if cells is not None:
            return chooser.shown(cells.split(","))
        return chooser.next(Wanted(kind, cluster, None, seed), type, skip, n)

    return await run_in_threadpool(found)


class _Chooser:
    """Chooses cells for a reviewer, and shows them.

    Args:
        reviews: the review of the service.
        review: the bundle's.
        reviewer: who looks at the cells.
        taught: what a classifier thinks of them; why none can learn yet; or None if none was asked for.
    """

    def __init__(self, reviews: Reviews, review: Review, reviewer: str, taught: Taught | str | None) -> None:
        self.reviews = reviews
        self.candidates: Candidates = reviews.candidates(review)
        self.names: Sequence[CellName] = reviews.store.names(review)
        self.reviewer = reviewer
        self.why_not = taught if isinstance(taught, str) else None
        self.taught = taught if isinstance(taught, Taught) else None

    def shown(self, ids: Sequence[str]) -> NextOut:
        """Return cells by their ids.

        Raises:
            NotInReview: one of them is not in the review.
        """
        rows = [self.candidates.rows.get(cell) for cell in dict.fromkeys(ids)]
        known = [row for row in rows if row is not None]
        if len(known) < len(rows):
            raise NotInReview(
                f"{len(rows) - len(known)} of the {len(rows)} cells are not in the review of this bundle."
            )
        return self._answer(np.array(known, np.int64), 0, with_names=False)

    def next(self, wanted: Wanted, type_name: str | None, skip: int, n: int) -> NextOut:
        """Return the cells that a reviewer wants to see.

        Args:
            wanted: which ones, but for their type.
            type_name: only cells of this type; None for all.
            skip: how many to leave out at the start.
            n: how many to return at most.
        """
        is_disagreed, is_listed = wanted.kind == "disagreed", wanted.kind in LISTED
        self._check_type(type_name)
        among = self._listed(wanted.kind, type_name) if is_listed else set()
        if type_name is not None and not is_listed:
            types = self.taught.types if self.taught else ()
            if type_name not in types:
                why = self.why_not or f"Too few cells have the type '{type_name}' for a classifier to know it."
                return self._none(why)
            wanted = Wanted(wanted.kind, wanted.cluster, types.index(type_name), wanted.seed)
        probabilities = self.taught.probabilities if self.taught else None
        order = choose(wanted, self.candidates, named_by(self.names, self.reviewer), among, probabilities)
        if len(order) <= skip:
            return self._none(self.why_not or self._why_none(wanted))
        chosen = order[skip : skip + n]
        return self._answer(chosen, len(order) - skip - len(chosen), with_names=is_disagreed)

    def _check_type(self, type_name: str | None) -> None:
        known = [one.name for one in self.reviews.store.types()]
        if type_name is not None and type_name not in known:
            listed = ", ".join(f"'{name}'" for name in known) or "none"
            raise InvalidParameter(f"There is no cell type '{type_name}'; the types are {listed}.")

    def _listed(self, kind: Kind, type_name: str | None) -> set[str]:
        found = disagreed(self.names) if kind == "disagreed" else named_by(self.names, self.reviewer)
        if type_name is None:
            return found
        given = self.names if kind == "disagreed" else (one for one in self.names if one.reviewer == self.reviewer)
        return {one.cell for one in given if one.cell in found and one.type == type_name}

    def _none(self, reason: str) -> NextOut:
        return NextOut(cells=[], n_left=0, learned_from=self.taught.n_named if self.taught else None, reason=reason)

    def _why_none(self, wanted: Wanted) -> str:
        if not len(self.candidates):
            return "No tile is in the review of this bundle yet."
        if wanted.kind == "disagreed":
            return "There is no cell on which reviewers disagree."
        if wanted.kind == "named":
            return "This reviewer has named no such cell."
        return "No cell of this kind is left that this reviewer has not named."

    def _answer(self, rows: Int64Array, n_left: int, *, with_names: bool) -> NextOut:
        ids = [self.candidates.ids[row] for row in rows]
        own = {name.cell: name.type for name in self.names if name.reviewer == self.reviewer}
        given: dict[str, list[GivenName]] = {}
        for name in self.names if with_names else ():
            given.setdefault(name.cell, []).append(GivenName(reviewer=name.reviewer, type=name.type))
        crops = self.reviews.store.crops(ids)
        # A tile may be taken out while its cells are chosen.
        known = [(row, cell) for row, cell in zip(rows.tolist(), ids, strict=True) if cell in crops]
        shown = np.stack([crops[cell] for _, cell in known]) if known else np.zeros((0, 32, 32, 7), np.uint8)
        nuclei, fields = base64_pngs(pictures(shown)), base64_pngs(surroundings(shown))
        places = self.candidates.shape.places
        return NextOut(
            cells=[
                ReviewCellOut(
                    id=cell,
                    tile=self.candidates.tiles[row],
                    cluster=int(self.candidates.clusters[row]),
                    probability=float(self.candidates.probabilities[row]),
                    type=own.get(cell),
                    suggested=self._suggested(row),
                    names=given.get(cell, []),
                    x=float(places[row, 0]),
                    y=float(places[row, 1]),
                    nucleus=nucleus,
                    field=field,
                )
                for (row, cell), nucleus, field in zip(known, nuclei, fields, strict=True)
            ],
            n_left=n_left,
            learned_from=self.taught.n_named if self.taught else None,
            reason=None,
        )

    def _suggested(self, row: int) -> list[SuggestedType]:
        if self.taught is None:
            return []
        probabilities = self.taught.probabilities[row]
        best = np.argsort(-probabilities, kind="stable")[:MAX_SUGGESTED]
        return [SuggestedType(type=self.taught.types[i], probability=float(probabilities[i])) for i in best]


@router.get("/plot", response_description="The places of the cells.")
def plot(
    request: Request,
    analyzer: AnalyzerDep,
    reviews: ReviewsDep,
    bundle: BundleQuery = None,
    reviewer: ReviewerQuery = None,
) -> PlotOut:
    """Show where the cells of the review lie on the first two principal components of their features."""
    used, person = analyzer.bundle(bundle), reviewer_of(request, reviewer)
    review = review_of(used)
    candidates = reviews.candidates(review)
    own = {name.cell: name.type for name in reviews.store.names(review) if name.reviewer == person}
    # The same cells are drawn each time, and more tiles change few of them.
    rows = sorted(range(len(candidates)), key=lambda row: candidates.ids[row])[:MAX_PLOTTED]
    places = candidates.shape.places
    return PlotOut(
        cells=[
            PlacedCellOut(
                id=candidates.ids[row],
                x=float(places[row, 0]),
                y=float(places[row, 1]),
                cluster=int(candidates.clusters[row]),
                type=own.get(candidates.ids[row]),
            )
            for row in rows
        ],
        n_cells=len(candidates),
    )


@router.get(
    "/export",
    response_class=Response,
    response_description="The named cells, as GeoJSON for QuPath.",
    responses={200: {"content": {GEOJSON: {"schema": {"type": "object"}}}}},
)
def export_names(analyzer: AnalyzerDep, reviews: ReviewsDep, tile: ShaQuery, bundle: BundleQuery = None) -> Response:
    """Give the named cells of a tile as GeoJSON, which QuPath imports as classified detections.

    If no cell that the bundle finds now has a name, those are given that an earlier version of it found.
    """
    from app.review.export import exported, file_name

    kept, data = exported(reviews.store, tile, review_of(analyzer.bundle(bundle)))
    headers = {"Content-Disposition": f'attachment; filename="{file_name(kept).encode("ascii", "replace").decode()}"'}
    return Response(data, media_type=GEOJSON, headers=headers)


@router.post(
    "/import",
    response_description="The names were kept.",
    responses=declare(400, 408, 409, 413, 415, 504),
    openapi_extra=CELLS_UPLOAD,
)
async def import_names(
    request: Request,
    analyzer: AnalyzerDep,
    reviews: ReviewsDep,
    tile: ShaQuery,
    cells: Annotated[
        UploadFile,
        File(
            description="GeoJSON of classified objects, as QuPath writes it: detections, cells, points or areas, in px "
            "of the tile."
        ),
    ],
    bundle: BundleQuery = None,
    reviewer: ReviewerQuery = None,
    add_types: Annotated[
        bool,
        Query(description="Whether classes that are no types yet are put at the end of the list, or else refused."),
    ] = False,
) -> ImportedOut:
    """Name the cells of a tile by the classified objects of a GeoJSON file. All names are kept, or none.

    An object names the nucleus that it lies on, or else the nearest one within 10 px; an area names every cell in it.
    All names are the reviewer's who sends the file.
    """
    from app.review.export import imported

    used, person = analyzer.bundle(bundle), reviewer_of(request, reviewer)
    kept = await run_in_threadpool(reviews.store.tile, tile, review_of(used))
    if kept is None:
        raise NotInReview("There is no such tile in the review of this bundle; put it in first.")
    data, _ = await read_uploads(request, cells)
    found = await analyzer.work(lambda: imported(reviews.store, data, kept, person, add_types=add_types))
    request.state.tile_sha256 = tile
    request.state.reviewed = {"n_names": found.n_changed}
    return ImportedOut(
        n_named=found.n_named, n_changed=found.n_changed, n_unmatched=found.n_unmatched, unmatched=found.unmatched
    )
