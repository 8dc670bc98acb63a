"""Cells → CSV (RFC 4180): one header, one row a cell."""

from __future__ import annotations

import csv
import io

from app.api import present
from app.service import Result

COLUMNS = ("tile_sha256", "id", "x", "y", "x0", "y0", "x1", "y1", "area_px", "touches_border")


def cell_table(result: Result) -> bytes:
    """Every cell, in the values and the order of the JSON answer.

    Columns are the tile's checksum, so that tables of many tiles can be joined; id, centroid, box and area in px of
    the upload; whether the tile's border cuts the cell; its cluster, that one's name, whether the cell is an outlier
    (which no cluster counts); and Q's probability of each cluster.
    """
    manifest, names = result.bundle.manifest, result.bundle.manifest.cluster_names
    probabilities = [f"probability_{k}" for k in range(manifest.n_clusters)]
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow([*COLUMNS, "cluster", "cluster_name", "outlier", *probabilities])
    for cell in present.cells_out(result):
        name = names.of(cell.cluster) if names else None
        writer.writerow(
            [
                result.analysis.tile.sha256,
                cell.id,
                *cell.centroid,
                *cell.bbox,
                cell.area_px,
                _yes(cell.touches_border),
                cell.cluster,
                name or "",
                _yes(cell.outlier),
                *cell.probabilities,
            ]
        )
    return buffer.getvalue().encode()


def _yes(flag: bool) -> str:
    return "true" if flag else "false"
