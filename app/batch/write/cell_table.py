"""The table of a slide's cells, cells.parquet: GeoParquet 1.1 with one row per cell and one row group per tile."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType, TracebackType

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from app.files import whole_file
from app.pipeline.measure.table import MEASUREMENTS
from app.pipeline.types import Float32Array, Int32Array

GEO = {
    "version": "1.1.0",
    "primary_column": "geometry",
    # Pixels of a slide are not places on Earth, so there is no reference system.
    "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": None}},
}
AREAS = ("area_px", "area_um2")
AREA_DECIMALS = 4
"""Decimals of an area in µm²."""


def measured_columns(scale_known: bool) -> dict[str, int]:
    """Return the names of the table's measurements, and the place of each in `MEASUREMENTS`.

    The area is among the other columns, where it is that of nuclei at the border of the slide, too.
    """
    columns = {measurement.column(scale_known): i for i, measurement in enumerate(MEASUREMENTS)}
    return {name: i for name, i in columns.items() if name not in AREAS}


def table_schema(
    n_clusters: int, scale_known: bool = True, n_features: int = 0, *, with_types: bool = False
) -> pa.Schema:
    """Return the columns of the table for K clusters, with sizes in µm, or in px if the scale is not known.

    - id: the number of the cell on the slide, from 0.
    - x, y: the centroid in px of level 0; the centre of the first pixel is 0, 0.
    - area_px, area_um2: the area of the nucleus; area_um2 is null if the scale is not known.
    - cluster: the most probable cluster.
    - p0 … p(K−1): the probability of each cluster, 0–1.
    - outlier: whether the cell is unlike all training cells and counted in no cluster.
    - type: the name of the cell's type; null if none is probable enough. It and the next column are there only where
      the bundle has a cell classifier.
    - type_probability: the probability of that type, 0–1; null if the cell has none.
    - touches_border: whether the border of the slide cuts the nucleus, or may do so.
    - nearest_um_0 … nearest_um_(K−1): the distance to the nearest other cell of each cluster, in µm; null if there is
      none, and for outliers.
    - island: the number of the cell's island; null if it is in none.
    - regions: the names of the cell's regions, joined with "; "; null if it is in none.
    - geometry: the outline of the nucleus, WKB, in px of level 0; the corner of the first pixel is 0, 0.
    - very_large_um: the equivalent diameter of a very large nucleus, for its largest lobe; null for all other cells.
    - `measured_columns`: the measurements; null where a cell has none.
    - features: what the encoder sees of the cell, a list of `n_features` numbers; only where the bundle has features.
    """
    features = [pa.field("features", pa.list_(pa.float32(), n_features), nullable=False)] if n_features else []
    types = [pa.field("type", pa.string()), pa.field("type_probability", pa.float32())] if with_types else []
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
            *types,
            pa.field("touches_border", pa.bool_(), nullable=False),
            *(pa.field(f"nearest_um_{k}", pa.float32()) for k in clusters),
            pa.field("island", pa.int32()),
            pa.field("regions", pa.string()),
            pa.field("geometry", pa.binary(), nullable=False),
            pa.field("very_large_um", pa.float32()),
            *(pa.field(name, pa.float32()) for name in measured_columns(scale_known)),
            *features,
        ]
    )


def final_table(
    tile: pa.Table,
    first_id: int,
    measurements: Float32Array,
    nearest: Float32Array,
    islands: Int32Array,
    regions: Sequence[str | None],
    mpp: float | None,
    types: Mapping[str, Sequence[object]] = MappingProxyType({}),
) -> pa.Table:
    """Complete the rows of one tile with what is known only once all cells of the slide are together.

    Args:
        tile: n cells in the columns of `analyse_tile`.
        first_id: the id of the first of them.
        measurements: (n, M) float32, see `SlideCells`.
        nearest: (n, K) float32 µm, NaN where there is no distance.
        islands: (n,) int32, −1 for a cell in none.
        regions: n times the names of a cell's regions; None for a cell in none.
        mpp: µm per px of level 0; None if it is not known.
        types: the columns of the cells' types by name, n values each; none where the bundle has no cell classifier.

    Returns:
        n rows in the columns of `table_schema`.
    """
    n, n_clusters = nearest.shape
    probabilities = np.stack([tile[f"p{k}"].to_numpy() for k in range(n_clusters)], axis=1)
    areas_px = tile["area_px"].to_numpy()
    areas_um2 = pa.nulls(n) if mpp is None else pa.array((areas_px * mpp**2).round(AREA_DECIMALS))
    given = {name: tile[name] for name in tile.column_names}
    computed = {
        "id": pa.array(np.arange(first_id, first_id + n)),
        "area_um2": areas_um2,
        "cluster": pa.array(probabilities.argmax(axis=1)),
        **{f"nearest_um_{k}": _with_nulls(nearest[:, k]) for k in range(n_clusters)},
        "very_large_um": _with_nulls(tile["very_large_um"].to_numpy()),
        "island": pa.array(islands, mask=islands < 0),
        "regions": pa.array(regions, pa.string()),
        **{name: pa.array(values) for name, values in types.items()},
        **{name: _with_nulls(measurements[:, i]) for name, i in measured_columns(mpp is not None).items()},
    }
    n_features = tile.field("features").type.list_size if "features" in tile.column_names else 0
    schema = table_schema(n_clusters, mpp is not None, n_features, with_types=bool(types))
    columns = {**given, **computed}
    return pa.table([columns[field.name].cast(field.type) for field in schema], schema=schema)


def _with_nulls(values: Float32Array) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))


class CellTableWriter:
    """Writes the table tile by tile. It is a context manager; if the block raises, no file is written.

    Args:
        target: the path of the file.
        schema: the result of `table_schema`.
        about: the origin of the cells, kept in the metadata under the key `marrowscope`.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, target: Path, schema: pa.Schema, about: Mapping[str, str]) -> None:
        metadata = {"geo": json.dumps(GEO), "marrowscope": json.dumps(dict(about))}
        self._schema = schema.with_metadata(metadata)
        self._target = target
        self._stack = ExitStack()

    def __enter__(self) -> CellTableWriter:
        """Begin the file."""
        temporary = self._stack.enter_context(whole_file(self._target))
        writer = parquet.ParquetWriter(temporary, self._schema, compression="zstd")
        self._writer = self._stack.enter_context(writer)
        return self

    def write(self, table: pa.Table) -> None:
        """Add the rows of one `final_table` as a row group; a table without rows adds nothing."""
        if len(table):
            self._writer.write_table(table.replace_schema_metadata(self._schema.metadata), row_group_size=len(table))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file and put it in its place."""
        self._stack.__exit__(kind, error, trace)
