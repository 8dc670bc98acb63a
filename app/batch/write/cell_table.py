"""Cells of a slide → GeoParquet 1.1: one row a cell, one row group a part."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from app.files import whole_file
from app.pipeline.types import Float32Array, Int32Array

GEO = {
    "version": "1.1.0",
    "primary_column": "geometry",
    # Pixels of a slide are no place on Earth.
    "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": None}},
}
AREA_DIGITS = 4
"""Of µm²."""


def table_schema(n_clusters: int) -> pa.Schema:
    """Columns of a slide's cells.

    x, y: centroid, px of level 0; area_um2 is null where the scale is not known; p0…: Q's probability of each cluster;
    nearest_um_0…: distance to the nearest other cell of each cluster, null where there is none and for outliers; island
    and regions are null for cells in none.
    """
    clusters = range(n_clusters)
    return pa.schema(
        [
            pa.field("id", pa.int32(), nullable=False),
            pa.field("x", pa.float64(), nullable=False),
            pa.field("y", pa.float64(), nullable=False),
            pa.field("area_px", pa.float32(), nullable=False),
            pa.field("area_um2", pa.float32()),
            pa.field("cluster", pa.int8(), nullable=False),
            *(pa.field(f"p{k}", pa.float32(), nullable=False) for k in clusters),
            pa.field("outlier", pa.bool_(), nullable=False),
            pa.field("touches_border", pa.bool_(), nullable=False),
            *(pa.field(f"nearest_um_{k}", pa.float32()) for k in clusters),
            pa.field("island", pa.int32()),
            pa.field("regions", pa.string()),
            pa.field("geometry", pa.binary(), nullable=False),
        ]
    )


def final_table(
    part: pa.Table,
    first_id: int,
    nearest: Float32Array,
    islands: Int32Array,
    regions: Sequence[str | None],
    mpp: float | None,
) -> pa.Table:
    """The rows of one part, with what only the whole slide can tell.

    Args:
        part: n cells of one tile: x, y, area_px, touches_border, outlier, p0… and geometry (WKB, px of level 0).
        first_id: id of its first cell.
        nearest: (n, K) float32 µm, NaN where there is none.
        islands: (n,) int32, −1: in none.
        regions: n names of the region that each is in, or several in one text; None: in none.
        mpp: µm per px of level 0; None: not known.

    Returns:
        n rows in the columns of `table_schema`.
    """
    n, n_clusters = nearest.shape
    probabilities = np.stack([part[f"p{k}"].to_numpy() for k in range(n_clusters)], axis=1)
    areas_px = part["area_px"].to_numpy()
    areas_um2 = pa.nulls(n) if mpp is None else pa.array((areas_px * mpp**2).round(AREA_DIGITS))
    given = {name: part[name] for name in part.column_names}
    computed = {
        "id": pa.array(np.arange(first_id, first_id + n)),
        "area_um2": areas_um2,
        "cluster": pa.array(probabilities.argmax(axis=1)),
        **{f"nearest_um_{k}": pa.array(nearest[:, k], mask=np.isnan(nearest[:, k])) for k in range(n_clusters)},
        "island": pa.array(islands, mask=islands < 0),
        "regions": pa.array(regions, pa.string()),
    }
    schema = table_schema(n_clusters)
    columns = {**given, **computed}
    return pa.table([columns[field.name].cast(field.type) for field in schema], schema=schema)


class CellTableWriter:
    """Writes cells.parquet part by part; to be used with `with`. After an error in the block there is no file.

    Args:
        target: its place.
        n_clusters: K.
        about: what is told of the file, under the key `marrowscope`: notice, slide, checksum of the bundle.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, target: Path, n_clusters: int, about: Mapping[str, str]) -> None:
        metadata = {"geo": json.dumps(GEO), "marrowscope": json.dumps(dict(about))}
        self._schema = table_schema(n_clusters).with_metadata(metadata)
        self._target = target
        self._stack = ExitStack()

    def __enter__(self) -> CellTableWriter:
        """Begin the file."""
        temporary = self._stack.enter_context(whole_file(self._target))
        writer = parquet.ParquetWriter(temporary, self._schema, compression="zstd")
        self._writer = self._stack.enter_context(writer)
        return self

    def write(self, table: pa.Table) -> None:
        """Add the rows of one `final_table`."""
        if len(table):
            self._writer.write_table(table.replace_schema_metadata(self._schema.metadata), row_group_size=len(table))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the file, and put it in its place."""
        self._stack.__exit__(kind, error, trace)
