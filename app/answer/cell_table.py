"""Cells → CSV (RFC 4180): one header, one row a cell."""

from __future__ import annotations

import csv
import io

from app.answer.schemas import AnalysisOut, CellOut

CELL_COLUMNS = ("tile_sha256", "id", "x", "y", "x0", "y0", "x1", "y1", "area_px", "touches_border")
CLUSTER_COLUMNS = ("cluster", "cluster_name", "outlier")


def cell_table(answer: AnalysisOut) -> bytes:
    """Every cell, in the values and the order of the JSON answer; UTF-8.

    Columns are the tile's checksum, so that tables of many tiles can be joined; id, centroid, box and area in px of
    the upload; whether the tile's border cuts the cell; its cluster, that one's name, whether the cell is an outlier
    (which no cluster counts); and Q's probability of each cluster.
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    probabilities = [f"probability_{cluster.cluster}" for cluster in answer.clusters]
    writer.writerow([*CELL_COLUMNS, *CLUSTER_COLUMNS, *probabilities])
    writer.writerows(_row(cell, answer) for cell in answer.cells)
    return buffer.getvalue().encode()


def _row(cell: CellOut, answer: AnalysisOut) -> list[str | int | float | None]:
    """Of `None` csv makes an empty field."""
    return [
        answer.tile.sha256,
        cell.id,
        *cell.centroid,
        *cell.bbox,
        cell.area_px,
        _yes(cell.touches_border),
        cell.cluster,
        answer.clusters[cell.cluster].name,
        _yes(cell.outlier),
        *cell.probabilities,
    ]


def _yes(flag: bool) -> str:
    return "true" if flag else "false"
