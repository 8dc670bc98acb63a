"""A database: a file of SQLite, or PostgreSQL for several machines."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from app.pipeline.errors import PipelineError

log = logging.getLogger(__name__)

BUSY_S = 10
"""How long a writer waits for another one, in seconds."""


class Database:
    """A database for any number of threads, processes and machines at once.

    Every method raises `unavailable` if it cannot be reached or its disk is full; nothing of what the method was to
    write is kept then.

    Attributes:
        holds: what is in it, for messages.
        unavailable: the error.
        tables: its tables.
        journal: the journal of SQLite. With WAL, readers and a writer do not wait for each other.

    Args:
        url: its address, as SQLAlchemy writes it. If it is none, or its driver is not installed, `unavailable` is
            raised.
    """

    holds: ClassVar[str]
    unavailable: ClassVar[type[PipelineError]]
    tables: ClassVar[MetaData]
    journal: ClassVar[str] = "WAL"

    def __init__(self, url: str) -> None:
        try:
            address = make_url(url)
            if address.drivername == "postgresql":  # SQLAlchemy would take an older driver.
                address = address.set(drivername="postgresql+psycopg")
            is_file = address.get_backend_name() == "sqlite"
            wait: dict[str, Any] = {"timeout": BUSY_S} if is_file else {"connect_timeout": 5}
            self._engine = create_engine(address, connect_args=wait, pool_pre_ping=True, hide_parameters=True)
        except (SQLAlchemyError, ImportError) as error:
            raise self.unavailable(f"MARROWSCOPE_DATABASE_URL cannot be used: {error}") from error
        if is_file:
            _make_durable(self._engine, self.journal)

    def create(self) -> None:
        """Make the tables if they do not exist."""
        try:
            self._create()
        except self.unavailable:
            # Another process may have made them at the same moment.
            self._create()

    def _create(self) -> None:
        with self._transaction(is_write=True) as connection:
            self.tables.create_all(connection)

    def close(self) -> None:
        """Close the connections to the database."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, *, is_write: bool = False) -> Iterator[Connection]:
        try:
            with self._engine.connect().execution_options(is_write=is_write) as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            log.error("the database of the %s cannot be used: %s", self.holds, _without_values(error))
            if _is_full(error):
                text = f"The disk of the {self.holds} is full; nothing was kept of this request."
            else:
                text = f"The database of the {self.holds} cannot be used now; try again later."
            raise self.unavailable(text) from error


def _make_durable(engine: Engine, journal: str) -> None:
    """Let SQLite keep each transaction through a crash and a power cut."""

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # Python's driver would begin transactions by itself, and too late.
        cursor = connection.cursor()
        for pragma in (f"journal_mode = {journal}", "synchronous = FULL", f"busy_timeout = {BUSY_S * 1000}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # A writer that reads first must be the writer from the start: it could not become one beside another.
        is_write = connection.get_execution_options().get("is_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")


def _is_full(error: SQLAlchemyError) -> bool:
    """Return whether the disk was full: SQLite says so in words, PostgreSQL by its code disk_full."""
    original = error.orig if isinstance(error, DBAPIError) else None
    return getattr(original, "sqlstate", None) == "53100" or "disk is full" in str(original)


def _without_values(error: SQLAlchemyError) -> str:
    """Return what the database said, without the statement; a statement may hold names."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return f"{type(original).__name__}: {str(original).splitlines()[0] if str(original) else ''}"
