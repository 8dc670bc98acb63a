"""Tables of tiles on disk: whole files, the same bytes for the same cells."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from app.files import write_whole


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as the content of a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def write_part(table: pa.Table, target: Path) -> None:
    """Write the cells of a tile; raises OSError where that cannot be done."""
    write_whole(parquet_bytes(table), target)


def is_part(path: Path) -> bool:
    """Whether the cells of a tile are there, to the end of the file."""
    try:
        pq.read_metadata(path)
    except (OSError, pa.ArrowException):
        return False
    return True


def read_part(path: Path, columns: list[str] | None = None) -> pa.Table:
    """The cells of a tile, or some columns of them; raises OSError where they cannot be read."""
    return pq.read_table(path, columns=columns, partitioning=None)
