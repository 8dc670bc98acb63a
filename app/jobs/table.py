"""The one table of the database, for SQLite and PostgreSQL alike."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Boolean, Column, DateTime, Dialect, Integer, MetaData, Row, String, Table, Text, TypeDecorator

from app.jobs.batch import Batch, Order, Progress


class UtcTime(TypeDecorator[datetime]):
    """A time with its zone in Python, in UTC and without it in the database: SQLite keeps no zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Into the database."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Out of it."""
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
    # Who works on it, and when they last said so.
    Column("runner", String(32)),
    Column("heartbeat", UtcTime),
)


def as_row(batch: Batch) -> dict[str, Any]:
    """Columns of a new batch."""
    texts = {"order": batch.order.model_dump_json(), "progress": batch.progress.model_dump_json()}
    names = ("id", "state", "created", "started", "ended", "by", "is_cancelling", "detail", "n_lost")
    return {name: getattr(batch, name) for name in names} | texts


def as_batch(row: Row[Any]) -> Batch:
    """A row as what it stands for."""
    columns = row._asdict()
    return Batch(
        order=Order.model_validate_json(columns.pop("order")),
        progress=Progress.model_validate_json(columns.pop("progress")),
        **{name: columns[name] for name in Batch.__slots__ if name in columns},
    )
