"""The review of a service: its store, and what is computed from it and kept until the store changes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from app.pipeline.bundle.load import Bundle
from app.pipeline.cell_classifier import CellType
from app.pipeline.cell_types import type_probabilities
from app.pipeline.errors import InvalidParameter
from app.pipeline.manifest import Manifest
from app.pipeline.measure.table import INDEX
from app.pipeline.run import Analysis, Stages
from app.pipeline.types import Float64Array
from app.review.bundle import check_target, write_taught
from app.review.candidates import Candidates, NewCells, Review, ReviewTile, review_of
from app.review.classifier import MIN_CELLS, MIN_CELLS_OF_A_TYPE, teach
from app.review.errors import ReviewUnavailable
from app.review.named_cells import GroupKind, InvalidNamedCells, NamedCells
from app.review.names import Agreement, CellName, NamedType, agreements, disagreed, majority

if TYPE_CHECKING:
    from app.review.store import Store

T = TypeVar("T")
KEPT = 2
"""Reviews whose cells are held in memory at once."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a review is.

    Attributes:
        review: the bundle that found the cells.
        types: the types that people have named, in their order.
        counts: how many cells have each type, by the majority of their names.
        tiles: the tiles of the review.
        named_of_tile: how many cells of each tile have a name, by its checksum.
        reviewers: how many names each reviewer has given, by the reviewer.
        agreements: how far each two reviewers agree.
        n_cells: how many cells can be named.
        n_named: how many have a name.
        n_disagreed: how many have different names.
        earlier_cells: how many cells other versions of the bundle have found; they are not part of the review.
        earlier_named: how many of these have a name.
    """

    review: Review
    types: Sequence[NamedType]
    counts: Sequence[int]
    tiles: Sequence[ReviewTile]
    named_of_tile: dict[str, int]
    reviewers: dict[str, int]
    agreements: Sequence[Agreement]
    n_cells: int
    n_named: int
    n_disagreed: int
    earlier_cells: int
    earlier_named: int


@dataclass(frozen=True, slots=True)
class Taught:
    """What a classifier that learned from the names so far thinks of all cells of a review.

    Attributes:
        types: the T types that it knows.
        probabilities: (N, T) float64, rows sum to 1.
        n_named: how many named cells it learned from.
    """

    types: tuple[str, ...]
    probabilities: Float64Array
    n_named: int


class Kept(Generic[T]):
    """Values that are made when they are first asked for, and again when what they were made from has changed.

    Args:
        n: how many values are kept at once.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._lock = Lock()
        self._values: dict[str, tuple[object, T]] = {}

    def get(self, review: Review, state: object, make: Callable[[], T]) -> T:
        """Return the value of a review; it is made if none of this state is kept.

        Args:
            review: whose value it is.
            state: a value of another state is made again.
            make: makes the value.
        """
        with self._lock:
            found = self._values.pop(review.sha256, None)
            if found is None or found[0] != state:
                found = (state, make())
            self._values[review.sha256] = found
            while len(self._values) > self._n:
                del self._values[next(iter(self._values))]
            return found[1]

    def last(self, review: Review) -> T | None:
        """Return the value that was made last, of whatever state; None if there is none."""
        found = self._values.get(review.sha256)
        return None if found is None else found[1]


class Reviews:
    """The review of a service.

    Args:
        store: the database.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._candidates: Kept[Candidates] = Kept(KEPT)
        self._taught: Kept[Taught | str] = Kept(KEPT)

    def close(self) -> None:
        """Close the database."""
        self.store.close()

    def add_tile(
        self, analysis: Analysis, stages: Stages, bundle: Bundle, name: str, group: str | None, by: str | None
    ) -> tuple[ReviewTile, bool]:
        """Put an analysed tile into the review of a bundle.

        Args:
            analysis: the tile, analysed by the bundle's full network.
            stages: its crops.
            bundle: the bundle, which gives features.
            name: what people call the tile; may be empty.
            group: what is left out together with it; None for the tile alone.
            by: name of the key that it came with.

        Returns:
            The tile, and whether it is new; one that was there already stays as it was.

        Raises:
            InvalidParameter: the review would hold too many cells.
            ReviewUnavailable: nothing was kept.
        """
        review = review_of(bundle)
        cells = NewCells.of(analysis, stages, review.sha256)
        tile = ReviewTile(
            sha256=analysis.tile.sha256,
            review=review,
            name=name,
            group=group,
            width=analysis.tile.width,
            height=analysis.tile.height,
            mpp=analysis.tile.mpp,
            added=datetime.now(UTC),
            by=by,
            n_cells=len(cells),
        )
        if self.store.add_tile(tile, cells):
            return tile, True
        return self.store.tile(tile.sha256, review) or tile, False

    def candidates(self, review: Review) -> Candidates:
        """Return the cells of a review, which are read again only when tiles were put in or taken out."""
        return self._candidates.get(review, self.store.revision().cells, lambda: self.store.candidates(review))

    def taught(self, review: Review) -> Taught | str:
        """Return what a classifier thinks of all cells that has learned from the names so far.

        It learns, which takes seconds, only if names were changed since it was last asked. Types that too few cells
        have are left out.

        Returns:
            What it thinks; or why none can learn yet, in a sentence.
        """
        revision = self.store.revision()
        return self._taught.get(review, revision, lambda: self._teach(review))

    def taught_before(self, review: Review) -> Taught | None:
        """Return what the classifier thinks that learned last, from earlier names perhaps; None if none has learned."""
        found, candidates = self._taught.last(review), self.candidates(review)
        if not isinstance(found, Taught) or len(found.probabilities) != len(candidates):
            return None
        return found

    def _teach(self, review: Review) -> Taught | str:
        candidates, types = self.candidates(review), self.store.types()
        named = majority(self.store.names(review))
        counts = Counter(named.values())
        enough = {cell: kind for cell, kind in named.items() if counts[kind] >= MIN_CELLS_OF_A_TYPE}
        if len(set(enough.values())) < 2 or len(enough) < MIN_CELLS:
            return (
                f"A classifier can learn when at least two types have {MIN_CELLS_OF_A_TYPE} named cells each; "
                f"{len(set(enough.values()))} of {len(types)} types have as many now."
            )
        learned = self.named_cells(review, enough)
        classifier = teach(learned, types=cell_types(types), bundle_sha256=review.sha256)
        columns = [INDEX[name] for name in classifier.measurements]
        probabilities = type_probabilities(
            candidates.features,
            candidates.measured[:, columns].astype(np.float64),
            candidates.neighbours,
            classifier,
        )
        return Taught(tuple(one.name for one in classifier.types), probabilities, len(learned))

    def teach(
        self, source: Bundle, target: Path, group_kind: GroupKind | None = None, leave_out: Collection[str] = ()
    ) -> tuple[Manifest, str]:
        """Teach a classifier on all names of a review, and write a bundle that has it.

        Args:
            source: the bundle whose cells are named.
            target: directory of the new bundle, of a name that was checked.
            group_kind: what the groups of the tiles are; see `named_cells`.
            leave_out: names of types that are not learned.

        Returns:
            The manifest of the new bundle, and the hex digest of its bytes.

        Raises:
            InvalidParameter: the new bundle cannot have that name, or a type that is to be left out does not exist.
            InvalidNamedCells: there are too few names.
            InvalidBundle: the files of the source cannot be read any more, or have changed since it was loaded.
            OSError: the bundle cannot be written; nothing of it is left.
        """
        check_target(source.directory, target)
        review, types = review_of(source), self.store.types()
        if unknown := set(leave_out) - {one.name for one in types}:
            raise InvalidParameter(f"leave_out names '{min(unknown)}', and there is no such cell type.")
        given = majority(self.store.names(review))
        named = {cell: kind for cell, kind in given.items() if kind not in leave_out}
        if not named:
            raise InvalidNamedCells(
                "Every named cell has a type that is left out." if given else "No cell of this bundle has a name yet."
            )
        classifier = teach(
            self.named_cells(review, named, group_kind),
            types=cell_types(types),
            bundle_sha256=review.sha256,
        )
        return write_taught(source, target, classifier)

    def named_cells(self, review: Review, named: Mapping[str, str], group_kind: GroupKind | None = None) -> NamedCells:
        """Return what a classifier learns from.

        Args:
            review: the review.
            named: the type of each cell that is learned from, by its id.
            group_kind: what a person says that the groups of the tiles are; None if nobody said it. They are then
                tiles where each has one tile, and else groups. Without any group, they are always tiles.
        """
        candidates, tiles = self.candidates(review), {tile.sha256: tile for tile in self.store.tiles(review)}
        known = {cell: kind for cell, kind in named.items() if cell in candidates.rows}
        rows = np.array([candidates.rows[cell] for cell in known], np.int64)
        of_cell = [tiles[candidates.tiles[row]] for row in rows]
        groups = [tile.group or tile.sha256 for tile in of_cell]
        numbers = {group: i for i, group in enumerate(sorted(set(groups)))}
        used = set(known.values())
        type_names = tuple(one.name for one in self.store.types() if one.name in used)
        used_tiles = tuple(sorted({tile.sha256 for tile in of_cell}))
        has_groups = any(tile.group for tile in of_cell)
        kind: GroupKind = group_kind or ("tiles" if len(numbers) == len(used_tiles) else "groups")
        return NamedCells(
            features=candidates.features[rows].astype(np.float32),
            measured=candidates.measured[rows].astype(np.float64),
            neighbour_features=candidates.neighbours[rows].astype(np.float64),
            types=np.array([type_names.index(kind) for kind in known.values()], np.int64),
            type_names=type_names,
            groups=np.array([numbers[group] for group in groups], np.int64),
            group_kind=kind if has_groups else "tiles",
            tiles=used_tiles,
            reviewers=tuple(sorted({name.reviewer for name in self.store.names(review) if name.cell in known})),
        )

    def progress(self, review: Review) -> Progress:
        """Return how far a review is."""
        tiles, types, names = self.store.tiles(), self.store.types(), self.store.names(review)
        named = majority(names)
        counts = Counter(named.values())
        own = [tile for tile in tiles if tile.review.sha256 == review.sha256]
        others = (tile for tile in tiles if tile.review.sha256 != review.sha256)
        earlier = [tile for tile in others if tile.review.bundle == review.bundle]
        n_named = self.store.n_named()
        return Progress(
            review=review,
            types=types,
            counts=[counts[one.name] for one in types],
            tiles=own,
            named_of_tile=self._named_of_tile(review, named),
            reviewers=dict(sorted(Counter(name.reviewer for name in names).items())),
            agreements=agreements(names),
            n_cells=sum(tile.n_cells for tile in own),
            n_named=len(named),
            n_disagreed=len(disagreed(names)),
            earlier_cells=sum(tile.n_cells for tile in earlier),
            earlier_named=sum(n_named.get(sha256, 0) for sha256 in {tile.review.sha256 for tile in earlier}),
        )

    def _named_of_tile(self, review: Review, named: dict[str, str]) -> dict[str, int]:
        candidates = self.candidates(review)
        rows = (candidates.rows.get(cell) for cell in named)
        return dict(Counter(candidates.tiles[row] for row in rows if row is not None))


def cell_types(types: Iterable[NamedType]) -> list[CellType]:
    """Return types as a classifier knows them."""
    return [CellType(name=one.name, color=one.color, lineage=one.lineage) for one in types]


def named_by(names: Sequence[CellName], reviewer: str) -> set[str]:
    """Return the cells that a reviewer has named."""
    return {name.cell for name in names if name.reviewer == reviewer}


def open_reviews(directory: Path | None, database_url: str | None) -> Reviews | None:
    """Return the review of a service, or None if there is to be none.

    Args:
        directory: the folder of the review; None for no review.
        database_url: the address of the database; None for a file in that folder.

    Raises:
        ReviewUnavailable: the folder or the database cannot be used.
    """
    if directory is None:
        return None
    # It is imported late, because a service without a review does not load the packages of a database.
    from app.review.store import Store

    folder = _writable(directory.resolve())
    store = Store(database_url or f"sqlite:///{folder / 'reviews.sqlite'}")
    store.create()
    return Reviews(store)


def check_reviews(directory: Path | None, database_url: str | None) -> None:
    """Check that a service can hold the review that its settings ask for; raises what `open_reviews` raises."""
    opened = open_reviews(directory, database_url)
    if opened is not None:
        opened.close()


def _writable(folder: Path) -> Path:
    """Make the folder of the review if it does not exist."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReviewUnavailable(f"MARROWSCOPE_REVIEWS_DIR: {error}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ReviewUnavailable(f"MARROWSCOPE_REVIEWS_DIR: {folder} cannot be written.")
    return folder
