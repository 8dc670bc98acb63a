"""Where batches are kept: a file of SQLite, or PostgreSQL for several machines."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, and_, create_engine, inspect, or_, select, tuple_, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from app.jobs.batch import Batch, Progress, State
from app.jobs.errors import StoreUnavailable
from app.jobs.table import as_batch, as_row, metadata, table

log = logging.getLogger(__name__)

STALE_S = 30
"""Without a heartbeat for so long, whoever ran a batch is dead. The clocks of several machines must agree better."""
Beat = Literal["go on", "cancel", "lost"]


class Store:
    """The batches; for any number of threads, processes and machines at once.

    Args:
        url: of the database, as SQLAlchemy has it.

    Raises:
        StoreUnavailable: it is no address of a database, or its driver is not installed. So does every method where
            the database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        try:
            address = make_url(url)
            if address.drivername == "postgresql":  # SQLAlchemy would take the older driver
                address = address.set(drivername="postgresql+psycopg")
            is_file = address.get_backend_name() == "sqlite"
            wait: dict[str, Any] = {"timeout": 10} if is_file else {"connect_timeout": 5}
            self._engine = create_engine(address, connect_args=wait, pool_pre_ping=True, hide_parameters=True)
        except (SQLAlchemyError, ImportError) as error:
            raise StoreUnavailable(f"MARROWSCOPE_DATABASE_URL cannot be used: {error}") from error

    def create(self) -> None:
        """Make the table, unless it is there."""
        try:
            with self._begin() as connection:
                metadata.create_all(connection)
        except StoreUnavailable:
            # Another process may have made it at the same moment.
            with self._begin() as connection:
                if not inspect(connection).has_table(table.name):
                    raise

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def add(self, batch: Batch) -> None:
        """Keep a new batch."""
        with self._begin() as connection:
            connection.execute(table.insert().values(as_row(batch)))

    def get(self, name: str) -> Batch | None:
        """The batch of this id; None where there is none."""
        with self._begin() as connection:
            row = connection.execute(select(table).where(table.c.id == name)).first()
        return None if row is None else as_batch(row)

    def newest(self, limit: int, after: Batch | None = None) -> list[Batch]:
        """At most `limit` batches, the newest first; those older than `after`."""
        age = tuple_(table.c.created, table.c.id)
        query = select(table).order_by(table.c.created.desc(), table.c.id.desc()).limit(limit)
        if after is not None:
            query = query.where(age < tuple_(after.created, after.id, types=[table.c.created.type, table.c.id.type]))
        with self._begin() as connection:
            return [as_batch(row) for row in connection.execute(query)]

    def cancel(self, name: str) -> bool:
        """End a batch that waits, and have one that runs ended; False where it has ended already."""
        of_it = table.c.id == name
        end = {"state": "cancelled", "ended": _now(), "is_cancelling": True}
        return self._update(and_(of_it, table.c.state == "queued"), end) or self._update(
            and_(of_it, table.c.state == "running"), {"is_cancelling": True}
        )

    def claim(self, runner: str) -> Batch | None:
        """The oldest batch that nobody works on, from now on this runner's; None where there is none."""
        is_dead = and_(table.c.state == "running", table.c.heartbeat < _now() - timedelta(seconds=STALE_S))
        is_free = or_(table.c.state == "queued", is_dead)
        with self._begin() as connection:
            row = connection.execute(select(table).where(is_free).order_by(table.c.created).limit(1)).first()
        if row is None:
            return None
        found = as_batch(row)
        n_lost = found.n_lost + (found.state == "running")
        taken = replace(found, state="running", started=found.started or _now(), n_lost=n_lost)
        values = {"state": "running", "started": taken.started, "n_lost": n_lost, "runner": runner, "heartbeat": _now()}
        # Another one may have been faster; then it is no longer free.
        return taken if self._update(and_(table.c.id == found.id, is_free), values) else None

    def beat(self, name: str, runner: str, progress: Progress | None) -> Beat:
        """Say that the runner lives and how far the batch is; hear whether it is to go on."""
        values: dict[str, Any] = {"heartbeat": _now()}
        if progress is not None:
            values["progress"] = progress.model_dump_json()
        if not self._update(_runs(name, runner), values):
            return "lost"
        found = self.get(name)
        return "cancel" if found is not None and found.is_cancelling else "go on"

    def end(self, name: str, runner: str, state: State, detail: str | None, progress: Progress | None) -> None:
        """Say how a batch ended, unless another runner has it by now."""
        values: dict[str, Any] = {"state": state, "ended": _now(), "detail": detail}
        if progress is not None:
            values["progress"] = progress.model_dump_json()
        self._update(_runs(name, runner), values)

    def give_back(self, name: str, runner: str) -> None:
        """Let a batch wait again, for whoever takes it next."""
        self._update(_runs(name, runner), {"state": "queued"})

    def _update(self, which: ColumnElement[bool], values: dict[str, Any]) -> bool:
        with self._begin() as connection:
            return connection.execute(update(table).where(which).values(values)).rowcount == 1

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            log.error("the database of the batches cannot be used: %s", error)
            raise StoreUnavailable("The database of the batches cannot be reached now; try again later.") from error


def _runs(name: str, runner: str) -> ColumnElement[bool]:
    return and_(table.c.id == name, table.c.state == "running", table.c.runner == runner)


def _now() -> datetime:
    return datetime.now(UTC)
