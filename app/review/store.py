"""The database of the review: a file of SQLite, or PostgreSQL for several machines."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    Text,
    and_,
    delete,
    func,
    insert,
    inspect,
    select,
    update,
)

from app.database import Database
from app.pipeline.cell_classifier import Lineage
from app.pipeline.errors import InvalidParameter
from app.pipeline.types import UInt8Array
from app.review.candidates import MEASURED, Candidates, NewCells, Outline, Review, ReviewTile
from app.review.errors import NotInReview, ReviewConflict, ReviewUnavailable
from app.review.names import CellName, NamedType, check_types, unused_color

MAX_CELLS = 200_000
"""Largest number of cells of one review: their features are held in memory while cells are chosen."""
AT_ONCE = 500
"""Ids in one statement; SQLite before 3.32 takes 999 values."""
CROP = (32, 32, 7)
ID_SHOWN = 40
"""Characters of an unknown id that a message repeats."""

metadata = MetaData()
# Times are text in UTC, which sorts as they do: SQLite keeps no zone, and fewer digits than PostgreSQL.
_types = Table(
    "review_types",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("place", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("color", String(7), nullable=False),
    Column("lineage", String(16)),
)
_tiles = Table(
    "review_tiles",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("bundle_sha256", String(64), primary_key=True),
    Column("bundle", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("group", Text),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("mpp", Float),
    Column("added", String(32), nullable=False),
    Column("by", Text),
    Column("n_cells", Integer, nullable=False),
    # The names of the columns of `measured`: another version of the program may measure something else.
    Column("measured", Text, nullable=False),
)
_cells = Table(
    "review_cells",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("tile_sha256", String(64), nullable=False, index=True),
    Column("bundle_sha256", String(64), nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("cluster", Integer, nullable=False),
    Column("probability", Float, nullable=False),
    Column("margin", Float, nullable=False),
    Column("x", Float, nullable=False),
    Column("y", Float, nullable=False),
    Column("outline", Text, nullable=False),
    Column("crop", LargeBinary, nullable=False),
    Column("features", LargeBinary, nullable=False),
    Column("neighbours", LargeBinary, nullable=False),
    Column("measured", LargeBinary, nullable=False),
)
_names = Table(
    "review_names",
    metadata,
    Column("cell", String(32), primary_key=True),
    Column("reviewer", String(80), primary_key=True),
    Column("type", Integer, nullable=False, index=True),
    Column("when", String(32), nullable=False),
)
_state = Table(
    "review_state",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("cells", Integer, nullable=False),
    Column("names", Integer, nullable=False),
)
Counter = Literal["cells", "names"]


@dataclass(frozen=True, slots=True)
class Revision:
    """How often the store has changed; it tells whether something that was computed from it still holds.

    Attributes:
        cells: how often tiles were put in or taken out.
        names: how often names or types were changed.
    """

    cells: int
    names: int


@dataclass(frozen=True, slots=True)
class TypeChange:
    """A type in a new list of types.

    Attributes:
        type: what it is to be.
        was: name of the type that becomes this one, with the names of its cells; None for its own name.
    """

    type: NamedType
    was: str | None = None


@dataclass(frozen=True, slots=True)
class PlacedCell:
    """Where a cell lies in its tile, and what it is called.

    Attributes:
        id: id of the cell.
        number: its number in the tile.
        centroid: x, y in px of the upload.
        outline: in px of the upload.
        cluster: its cluster.
    """

    id: str
    number: int
    centroid: tuple[float, float]
    outline: Outline
    cluster: int


class Store(Database):
    """Cells, their types and their names, for any number of threads, processes and machines at once."""

    holds, unavailable, tables = "review", ReviewUnavailable, metadata

    def _create(self) -> None:
        with self._transaction(is_write=True) as connection:
            if not inspect(connection).has_table(_state.name):
                metadata.create_all(connection)
                connection.execute(insert(_state).values(id=1, cells=0, names=0))

    def revision(self) -> Revision:
        """Return how often the store has changed."""
        with self._transaction() as connection:
            row = connection.execute(select(_state.c.cells, _state.c.names)).one()
        return Revision(row.cells, row.names)

    # Types

    def types(self) -> list[NamedType]:
        """Return the types in the order of the list."""
        with self._transaction() as connection:
            return [_named_type(row) for row in connection.execute(select(_types).order_by(_types.c.place))]

    def set_types(self, changes: Sequence[TypeChange], *, delete_names: bool = False) -> None:
        """Replace the list of types. A type that stays keeps its cells, also under another name.

        Args:
            changes: the new list.
            delete_names: whether names of cells that have a type that is gone are deleted.

        Raises:
            InvalidParameter: two types have the same name, or one is said to come from a type that does not exist.
            ReviewConflict: a type that names cells would be gone.
        """
        check_types([change.type for change in changes])
        with self._changing("names") as connection:
            ids = {row.name: row.id for row in connection.execute(select(_types))}
            of_place = _old_ids(changes, ids)
            kept = set(of_place.values())
            self._drop_types(connection, {name: id for name, id in ids.items() if id not in kept}, delete_names)
            for place, change in enumerate(changes):
                values = {
                    "place": place,
                    "name": change.type.name,
                    "color": change.type.color,
                    "lineage": change.type.lineage,
                }
                if place in of_place:
                    connection.execute(update(_types).where(_types.c.id == of_place[place]).values(values))
                else:
                    connection.execute(insert(_types).values(values))

    def _drop_types(self, connection: Connection, gone: Mapping[str, int], delete_names: bool) -> None:
        counts = {}
        for name, type_id in gone.items():
            counted = select(func.count()).select_from(_names).where(_names.c.type == type_id)
            counts[name] = connection.execute(counted).scalar_one()
        used = {name: n for name, n in counts.items() if n}
        if used and not delete_names:
            listed = ", ".join(f"'{name}' ({n})" for name, n in used.items())
            raise ReviewConflict(
                f"Cells have these types, which are not in the new list: {listed}. Keep them in it, or take their "
                "names away with delete_names=true. Nothing was changed."
            )
        for type_id in gone.values():
            connection.execute(delete(_names).where(_names.c.type == type_id))
            connection.execute(delete(_types).where(_types.c.id == type_id))

    # Tiles and their cells

    def add_tile(self, tile: ReviewTile, cells: NewCells) -> bool:
        """Put a tile in with its cells.

        Returns:
            False if it is there already, and nothing was changed.

        Raises:
            InvalidParameter: the review would hold too many cells.
        """
        with self._changing("cells") as connection:
            if self._has_tile(connection, tile.sha256, tile.review.sha256):
                return False
            counted = select(func.count()).select_from(_cells).where(_cells.c.bundle_sha256 == tile.review.sha256)
            n_before = connection.execute(counted).scalar_one()
            if n_before + len(cells) > MAX_CELLS:
                raise InvalidParameter(
                    f"A review may hold {MAX_CELLS} cells; it has {n_before}, and this tile has {len(cells)}. Take "
                    "tiles out that are not needed."
                )
            connection.execute(insert(_tiles).values(_tile_row(tile)))
            rows = _cell_rows(tile, cells)
            for start in range(0, len(rows), AT_ONCE):
                connection.execute(insert(_cells), rows[start : start + AT_ONCE])
        return True

    def tile(self, sha256: str, review: Review) -> ReviewTile | None:
        """Return a tile, or None if it is not in the review."""
        where = and_(_tiles.c.sha256 == sha256, _tiles.c.bundle_sha256 == review.sha256)
        with self._transaction() as connection:
            row = connection.execute(select(_tiles).where(where)).first()
        return None if row is None else _tile(row)

    def tiles(self, review: Review | None = None) -> list[ReviewTile]:
        """Return the tiles of one review or of all, in the order in which they were put in."""
        query = select(_tiles).order_by(_tiles.c.added, _tiles.c.sha256)
        if review is not None:
            query = query.where(_tiles.c.bundle_sha256 == review.sha256)
        with self._transaction() as connection:
            return [_tile(row) for row in connection.execute(query)]

    def delete_tile(self, sha256: str) -> tuple[int, int]:
        """Take a tile out with its cells and their names, whichever bundle found them.

        Returns:
            How many cells and how many names were deleted.

        Raises:
            NotInReview: there is no such tile.
        """
        of_tile = _cells.c.tile_sha256 == sha256
        with self._changing("cells") as connection:
            if not connection.execute(select(_tiles.c.sha256).where(_tiles.c.sha256 == sha256)).first():
                raise NotInReview("There is no such tile in the review.")
            names = delete(_names).where(_names.c.cell.in_(select(_cells.c.id).where(of_tile)))
            n_names = connection.execute(names).rowcount
            n_cells = connection.execute(delete(_cells).where(of_tile)).rowcount
            connection.execute(delete(_tiles).where(_tiles.c.sha256 == sha256))
            _count(connection, "names")
        return n_cells, n_names

    def candidates(self, review: Review) -> Candidates:
        """Return all cells of a review, in the order of tiles and numbers, without their pictures."""
        wanted = [
            _cells.c[name]
            for name in ("id", "tile_sha256", "cluster", "probability", "margin", "features", "neighbours", "measured")
        ]
        query = (
            select(*wanted, _tiles.c.measured.label("measured_names"))
            .join(
                _tiles,
                and_(_tiles.c.sha256 == _cells.c.tile_sha256, _tiles.c.bundle_sha256 == _cells.c.bundle_sha256),
            )
            .where(_cells.c.bundle_sha256 == review.sha256)
            .order_by(_tiles.c.added, _tiles.c.sha256, _cells.c.number)
        )
        with self._transaction() as connection:
            return _candidates(connection.execute(query).all())

    def crops(self, ids: Sequence[str]) -> dict[str, UInt8Array]:
        """Return the crop of each cell, (32, 32, 7) uint8; a cell that does not exist is left out."""
        found: dict[str, UInt8Array] = {}
        with self._transaction() as connection:
            for some in _pieces(ids):
                query = select(_cells.c.id, _cells.c.crop).where(_cells.c.id.in_(some))
                for row in connection.execute(query):
                    found[row.id] = np.frombuffer(zlib.decompress(row.crop), np.uint8).reshape(CROP)
        return found

    def placed(self, sha256: str, bundle_sha256: str) -> list[PlacedCell]:
        """Return the cells of a tile that a bundle found, in the order of their numbers."""
        wanted = [_cells.c[name] for name in ("id", "number", "x", "y", "outline", "cluster")]
        where = and_(_cells.c.tile_sha256 == sha256, _cells.c.bundle_sha256 == bundle_sha256)
        with self._transaction() as connection:
            return [
                PlacedCell(row.id, row.number, (row.x, row.y), json.loads(row.outline), row.cluster)
                for row in connection.execute(select(*wanted).where(where).order_by(_cells.c.number))
            ]

    # Names

    def names(self, review: Review) -> list[CellName]:
        """Return every name of a cell of a review, in the order in which they were given."""
        query = _names_of(_cells.c.bundle_sha256 == review.sha256)
        with self._transaction() as connection:
            return [_cell_name(row) for row in connection.execute(query)]

    def names_of_tile(self, sha256: str) -> dict[str, list[CellName]]:
        """Return the names of the cells of a tile, by the bundle that found the cells (its hex digest)."""
        query = _names_of(_cells.c.tile_sha256 == sha256).add_columns(_cells.c.bundle_sha256)
        found: dict[str, list[CellName]] = {}
        with self._transaction() as connection:
            for row in connection.execute(query):
                found.setdefault(row.bundle_sha256, []).append(_cell_name(row))
        return found

    def n_named(self) -> dict[str, int]:
        """Return how many cells have a name, by the bundle that found them (its hex digest)."""
        counted = func.count(func.distinct(_names.c.cell)).label("n_cells")
        query = (
            select(_cells.c.bundle_sha256, counted)
            .join(_names, _names.c.cell == _cells.c.id)
            .group_by(_cells.c.bundle_sha256)
        )
        with self._transaction() as connection:
            return {row.bundle_sha256: row.n_cells for row in connection.execute(query)}

    def set_names(self, given: Mapping[str, str | None], reviewer: str, review: Review) -> int:
        """Keep what a reviewer has named cells, all of it or nothing.

        Args:
            given: the type of each cell by its id; None takes the reviewer's name of the cell away.
            reviewer: who has named them.
            review: the review that all of the cells must belong to.

        Returns:
            How many cells have another name of this reviewer's than before.

        Raises:
            InvalidParameter: there is no such cell or type.
            ReviewConflict: the cells were found by another version of the bundle.
        """
        now = datetime.now(UTC)
        return self.put_names([(cell, reviewer, kind, now) for cell, kind in given.items()], review)

    def put_names(
        self,
        given: Sequence[tuple[str, str, str | None, datetime]],
        review: Review,
        new_types: Mapping[str, str | None] | None = None,
    ) -> int:
        """Keep names of cells, all of them or none; see `set_names`.

        Args:
            given: cell, reviewer, type and time of each; a cell occurs once for each reviewer.
            review: the review that all of the cells must belong to.
            new_types: the types that are put at the end of the list if it does not have them, by name, with their
                colours; None is a colour that no other type has.
        """
        with self._changing("names") as connection:
            # Others may put in types at the same moment, so the list is read and written in one transaction.
            _add_types(connection, new_types or {})
            _check_cells(connection, list(dict.fromkeys(cell for cell, *_ in given)), review)
            ids = {row.name: row.id for row in connection.execute(select(_types))}
            unknown = sorted({kind for _, _, kind, _ in given if kind is not None and kind not in ids})
            if unknown:
                known = ", ".join(f"'{name}'" for name in ids) or "none"
                listed = ", ".join(f"'{name}'" for name in unknown[:5])
                raise InvalidParameter(f"There is no cell type {listed}; the types are {known}. Nothing was kept.")
            before = _given_before(connection, given)
            changed = [one for one in given if before.get(one[:2]) != (None if one[2] is None else ids[one[2]])]
            for cell, reviewer, _, _ in (one for one in changed if one[:2] in before):
                connection.execute(delete(_names).where(_names.c.cell == cell, _names.c.reviewer == reviewer))
            rows = [
                {"cell": cell, "reviewer": reviewer, "type": ids[kind], "when": _time_text(when)}
                for cell, reviewer, kind, when in changed
                if kind is not None
            ]
            if rows:
                connection.execute(insert(_names), rows)
        return len(changed)

    def delete_reviewer(self, reviewer: str) -> int:
        """Delete every name that a reviewer has given.

        Returns:
            How many they were.

        Raises:
            NotInReview: there is no such reviewer.
        """
        with self._changing("names") as connection:
            n_names = connection.execute(delete(_names).where(_names.c.reviewer == reviewer)).rowcount
            if not n_names:
                raise NotInReview("No cell has a name by a reviewer of that name.")
        return n_names

    # Transactions

    def _has_tile(self, connection: Connection, sha256: str, bundle_sha256: str) -> bool:
        where = and_(_tiles.c.sha256 == sha256, _tiles.c.bundle_sha256 == bundle_sha256)
        return connection.execute(select(_tiles.c.sha256).where(where)).first() is not None

    @contextmanager
    def _changing(self, counter: Counter) -> Iterator[Connection]:
        """Begin a transaction that writes. Writers take turns: each begins by counting its change."""
        with self._transaction(is_write=True) as connection:
            _count(connection, counter)
            yield connection


def _count(connection: Connection, counter: Counter) -> None:
    connection.execute(update(_state).where(_state.c.id == 1).values({counter: _state.c[counter] + 1}))


def _add_types(connection: Connection, wanted: Mapping[str, str | None]) -> None:
    """Put types at the end of the list that it does not have yet."""
    types = [_named_type(row) for row in connection.execute(select(_types).order_by(_types.c.place))]
    n_before = len(types)
    known = {one.name for one in types}
    for name, color in wanted.items():
        if name not in known:
            types.append(NamedType(name, color or unused_color(types)))
    check_types(types)
    for place, one in enumerate(types[n_before:], n_before):
        connection.execute(insert(_types).values(place=place, name=one.name, color=one.color, lineage=one.lineage))


def _pieces(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE))


def _old_ids(changes: Sequence[TypeChange], ids: Mapping[str, int]) -> dict[int, int]:
    """Return the id of the type that each change keeps, by its place in the list; a new type has none.

    Raises:
        InvalidParameter: two changes keep the same type, or one keeps a type that does not exist.
    """
    found: dict[int, int] = {}
    renamed = {place: change.was for place, change in enumerate(changes) if change.was is not None}
    for place, was in renamed.items():
        if was not in ids:
            raise InvalidParameter(f"There is no cell type '{was}' that could be renamed.")
        if ids[was] in found.values():
            raise InvalidParameter(f"Two cell types are said to have been '{was}' before.")
        found[place] = ids[was]
    for place, change in enumerate(changes):
        if place not in renamed and change.type.name in ids and ids[change.type.name] not in found.values():
            found[place] = ids[change.type.name]
    return found


def _check_cells(connection: Connection, cells: Sequence[str], review: Review) -> None:
    """Raise an error unless all cells exist and belong to a review."""
    found: dict[str, str] = {}
    for some in _pieces(cells):
        query = select(_cells.c.id, _cells.c.bundle_sha256).where(_cells.c.id.in_(some))
        found |= {row.id: row.bundle_sha256 for row in connection.execute(query)}
    if unknown := [cell for cell in cells if cell not in found]:
        shown = ", ".join(f"{cell[:ID_SHOWN]!a}" for cell in unknown[:3])
        raise InvalidParameter(
            f"{len(unknown)} of the {len(cells)} cells are not in the review, the first of them {shown}: their tile "
            "may have been taken out. Nothing was kept."
        )
    if n_other := sum(sha256 != review.sha256 for sha256 in found.values()):
        raise ReviewConflict(
            f"{n_other} of the {len(cells)} cells were found by another bundle than '{review.bundle}' as it is now: "
            "the bundle may have changed since. Load the cells again. Nothing was kept, and earlier names are still "
            "there."
        )


def _given_before(
    connection: Connection, given: Sequence[tuple[str, str, str | None, datetime]]
) -> dict[tuple[str, str], int]:
    """Return the type that each reviewer gave to each cell before, by cell and reviewer."""
    found: dict[tuple[str, str], int] = {}
    reviewers = sorted({reviewer for _, reviewer, _, _ in given})
    for some in _pieces(list(dict.fromkeys(cell for cell, *_ in given))):
        query = select(_names).where(_names.c.cell.in_(some), _names.c.reviewer.in_(reviewers))
        found |= {(row.cell, row.reviewer): row.type for row in connection.execute(query)}
    return found


def _names_of(which: ColumnElement[bool]) -> Any:
    return (
        select(_names.c.cell, _names.c.reviewer, _types.c.name, _names.c.when)
        .join(_cells, _cells.c.id == _names.c.cell)
        .join(_types, _types.c.id == _names.c.type)
        .where(which)
        .order_by(_names.c.when, _names.c.cell, _names.c.reviewer)
    )


def _cell_name(row: Row[Any]) -> CellName:
    return CellName(row.cell, row.reviewer, row.name, datetime.fromisoformat(row.when))


def _named_type(row: Row[Any]) -> NamedType:
    lineage: Lineage | None = row.lineage
    return NamedType(row.name, row.color, lineage)


def _tile_row(tile: ReviewTile) -> dict[str, Any]:
    names = ("sha256", "name", "group", "width", "height", "mpp", "by", "n_cells")
    return {
        **{name: getattr(tile, name) for name in names},
        "added": _time_text(tile.added),
        "bundle": tile.review.bundle,
        "bundle_sha256": tile.review.sha256,
        "measured": json.dumps(MEASURED),
    }


def _time_text(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="microseconds")


def _tile(row: Row[Any]) -> ReviewTile:
    columns = row._asdict()
    review, added = Review(columns.pop("bundle"), columns.pop("bundle_sha256")), columns.pop("added")
    del columns["measured"]
    return ReviewTile(review=review, added=datetime.fromisoformat(added), **columns)


def _cell_rows(tile: ReviewTile, cells: NewCells) -> list[dict[str, Any]]:
    return [
        {
            "id": cells.ids[i],
            "tile_sha256": tile.sha256,
            "bundle_sha256": tile.review.sha256,
            "number": int(cells.numbers[i]),
            "cluster": int(cells.clusters[i]),
            "probability": float(cells.probabilities[i]),
            "margin": float(cells.margins[i]),
            "x": float(cells.centroids[i, 0]),
            "y": float(cells.centroids[i, 1]),
            "outline": json.dumps(cells.outlines[i], separators=(",", ":")),
            "crop": zlib.compress(cells.crops[i].tobytes()),
            "features": cells.features[i].astype("<f2").tobytes(),
            "neighbours": cells.neighbours[i].astype("<f2").tobytes(),
            "measured": cells.measured[i].astype("<f4").tobytes(),
        }
        for i in range(len(cells))
    ]


def _candidates(rows: Sequence[Any]) -> Candidates:
    measured = np.full((len(rows), len(MEASURED)), np.nan, np.float32)
    places: dict[str, tuple[list[int], list[int]]] = {}
    for i, row in enumerate(rows):
        if row.measured_names not in places:
            known = [
                (j, MEASURED.index(name)) for j, name in enumerate(json.loads(row.measured_names)) if name in MEASURED
            ]
            places[row.measured_names] = ([j for j, _ in known], [k for _, k in known])
        source, target = places[row.measured_names]
        measured[i, target] = np.frombuffer(row.measured, "<f4")[source]
    return Candidates(
        ids=[row.id for row in rows],
        tiles=[row.tile_sha256 for row in rows],
        clusters=np.array([row.cluster for row in rows], np.int64),
        probabilities=np.array([row.probability for row in rows], np.float32),
        margins=np.array([row.margin for row in rows], np.float32),
        features=_joined([row.features for row in rows]),
        neighbours=_joined([row.neighbours for row in rows]),
        measured=measured,
    )


def _joined(rows: Sequence[bytes]) -> Any:
    if not rows:
        return np.zeros((0, 0), np.float16)
    return np.frombuffer(b"".join(rows), "<f2").reshape(len(rows), -1)
