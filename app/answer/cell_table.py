"""The cells of a tile as a CSV table (RFC 4180): one header, then one row for each cell."""

from __future__ import annotations

from collections.abc import Sequence

from app.answer.csv_table import csv_table
from app.answer.present import Result

CELL_COLUMNS = ("tile_sha256", "id", "x", "y", "x0", "y0", "x1", "y1", "area_px", "touches_border")
CLUSTER_COLUMNS = ("cluster", "cluster_name", "outlier")
TYPE_COLUMNS = ("type", "type_probability", "type_corrected")


def cell_table(result: Result) -> bytes:
    """Return the table in UTF-8, with the values and the order of the JSON answer.

    The columns are the tile's checksum, by which tables of many tiles can be joined; number, centroid, box and area
    of the cell in px of the upload; whether the tile's border cuts it; its cluster, the cluster's name, whether the
    cell is an outlier, which no cluster counts; the probability of each cluster; its type and the probability of that
    type, if the bundle has a cell classifier; whether a person gave it that type, if a type of the tile was corrected;
    and its measurements, unless the request left them out, with their units in the names. A field without a value is
    empty.
    """
    measured = result.measured
    # Where the scale is not known, the area in px is measured as well as counted.
    added = [j for j, name in enumerate(measured.names) if name not in CELL_COLUMNS] if measured else []
    cells, names = result.cells, [cluster.name for cluster in result.clusters]
    corrected = None if cells.corrected is None else [_yes(flag) for flag in cells.corrected]
    of_types: tuple[Sequence[object] | None, ...] = (cells.types, cells.type_probabilities, corrected)
    types = {name: column for name, column in zip(TYPE_COLUMNS, of_types, strict=True) if column is not None}
    rows = []
    for i, cluster in enumerate(cells.clusters):
        place = [*cells.centroids[i], *cells.bboxes[i], cells.areas_px[i], _yes(cells.touches_border[i])]
        sorted_into = [cluster, names[cluster], _yes(cells.outliers[i]), *cells.probabilities[i]]
        typed = [column[i] for column in types.values()]
        values = [measured.rows[i][j] for j in added] if measured else []
        rows.append([result.tile.sha256, i, *place, *sorted_into, *typed, *values])
    probabilities = [f"probability_{k}" for k in range(len(names))]
    names_of_added = [measured.names[j] for j in added] if measured else []
    return csv_table([*CELL_COLUMNS, *CLUSTER_COLUMNS, *probabilities, *types, *names_of_added], rows)


def _yes(flag: bool) -> str:
    return "true" if flag else "false"
