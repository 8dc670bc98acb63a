"""The database of batches: a file of SQLite, or PostgreSQL for several machines."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Dialect,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    TypeDecorator,
    and_,
    or_,
    select,
    tuple_,
    update,
)

from app.database import Database
from app.jobs.batch import Batch, Order, State, StoreUnavailable
from app.jobs.progress import Progress

STALE_S = 30
"""A runner without a heartbeat for this many seconds is dead. The clocks of several machines must agree better."""
Beat = Literal["go on", "cancel", "lost"]


class UtcTime(TypeDecorator[datetime]):
    """A time with its zone in Python; in the database it is in UTC and has no zone, because SQLite keeps none."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert a time for the database."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert a time from the database."""
        return None if value is None else value.replace(tzinfo=UTC)


metadata = MetaData()
table = Table(
    "batches",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("created", UtcTime, nullable=False, index=True),
    Column("started", UtcTime),
    Column("ended", UtcTime),
    Column("by", Text),
    Column("order", Text, nullable=False),
    Column("progress", Text, nullable=False),
    Column("is_cancelling", Boolean, nullable=False),
    Column("detail", Text),
    Column("n_lost", Integer, nullable=False),
    # The runner that has the batch, and the last time that it said so.
    Column("runner", String(32)),
    Column("heartbeat", UtcTime),
)


class Store(Database):
    """The batches, for any number of threads, processes and machines at once."""

    holds, unavailable, tables = "batches", StoreUnavailable, metadata
    journal = "DELETE"
    """Its folder may lie on a disk that machines share, where WAL does not work."""

    def add(self, batch: Batch) -> None:
        """Store a new batch."""
        with self._transaction(is_write=True) as connection:
            connection.execute(table.insert().values(_as_row(batch)))

    def get(self, name: str) -> Batch | None:
        """Return the batch with this id, or None if there is none."""
        with self._transaction() as connection:
            row = connection.execute(select(table).where(table.c.id == name)).first()
        return None if row is None else _as_batch(row)

    def newest(self, limit: int, after: Batch | None = None) -> list[Batch]:
        """Return the newest batches, newest first.

        Args:
            limit: how many, at most.
            after: return only batches that are older than this one.
        """
        age = tuple_(table.c.created, table.c.id)
        query = select(table).order_by(table.c.created.desc(), table.c.id.desc()).limit(limit)
        if after is not None:
            query = query.where(age < tuple_(after.created, after.id, types=[table.c.created.type, table.c.id.type]))
        with self._transaction() as connection:
            return [_as_batch(row) for row in connection.execute(query)]

    def cancel(self, name: str) -> bool:
        """End a batch that waits, or ask the runner of a running one to end it.

        Returns:
            False if the batch has ended already.
        """
        is_it = table.c.id == name
        end = {"state": "cancelled", "ended": _now(), "is_cancelling": True}
        return self._update(and_(is_it, table.c.state == "queued"), end) or self._update(
            and_(is_it, table.c.state == "running"), {"is_cancelling": True}
        )

    def claim(self, runner: str) -> Batch | None:
        """Give a runner the oldest batch that waits or whose runner is dead; None if there is no such batch.

        PostgreSQL locks the row, and other runners skip it and take the next one. SQLite has no row locks: a runner
        that comes second waits until the first has its batch.
        """
        is_dead = and_(table.c.state == "running", table.c.heartbeat < _now() - timedelta(seconds=STALE_S))
        is_free = or_(table.c.state == "queued", is_dead)
        oldest = select(table).where(is_free).order_by(table.c.created).limit(1).with_for_update(skip_locked=True)
        with self._transaction(is_write=True) as connection:
            row = connection.execute(oldest).first()
            if row is None:
                return None
            found = _as_batch(row)
            n_lost = found.n_lost + (found.state == "running")
            claimed = replace(found, state="running", started=found.started or _now(), n_lost=n_lost)
            values = {"state": "running", "started": claimed.started, "n_lost": n_lost}
            values |= {"runner": runner, "heartbeat": _now()}
            connection.execute(update(table).where(table.c.id == found.id).values(values))
        return claimed

    def beat(self, name: str, runner: str, progress: Progress | None) -> Beat:
        """Record that the runner lives and how far its batch is.

        Returns:
            Whether the runner is to go on, to cancel the batch, or has lost it to another runner.
        """
        values: dict[str, Any] = {"heartbeat": _now()}
        if progress is not None:
            values["progress"] = progress.model_dump_json()
        if not self._update(_runs(name, runner), values):
            return "lost"
        found = self.get(name)
        return "cancel" if found is not None and found.is_cancelling else "go on"

    def end(self, name: str, runner: str, state: State, detail: str | None, progress: Progress | None) -> None:
        """Store how a batch ended, unless another runner has it by now."""
        values: dict[str, Any] = {"state": state, "ended": _now(), "detail": detail}
        if progress is not None:
            values["progress"] = progress.model_dump_json()
        self._update(_runs(name, runner), values)

    def give_back(self, name: str, runner: str) -> None:
        """Put a batch back into the queue, unless another runner has it by now."""
        self._update(_runs(name, runner), {"state": "queued"})

    def _update(self, which: ColumnElement[bool], values: dict[str, Any]) -> bool:
        with self._transaction(is_write=True) as connection:
            return connection.execute(update(table).where(which).values(values)).rowcount == 1


def _runs(name: str, runner: str) -> ColumnElement[bool]:
    return and_(table.c.id == name, table.c.state == "running", table.c.runner == runner)


def _now() -> datetime:
    return datetime.now(UTC)


def _as_row(batch: Batch) -> dict[str, Any]:
    texts = {"order": batch.order.model_dump_json(), "progress": batch.progress.model_dump_json()}
    names = ("id", "state", "created", "started", "ended", "by", "is_cancelling", "detail", "n_lost")
    return {name: getattr(batch, name) for name in names} | texts


def _as_batch(row: Row[Any]) -> Batch:
    columns = row._asdict()
    return Batch(
        order=Order.model_validate_json(columns.pop("order")),
        progress=Progress.model_validate_json(columns.pop("progress")),
        **{name: columns[name] for name in Batch.__slots__ if name in columns},
    )
