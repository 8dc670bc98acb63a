"""Answers of many tiles → summary.csv (RFC 4180): one header, one row a tile."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.answer.present import Result

SUMMARY = "summary.csv"
HEAD = ("tile", "status", "error", "width", "height", "mpp", "cells", "outliers", "cut_nuclei", "focus")
LABEL = ("label", "score", "probability", "reason", "flags")
TAIL = ("bundle", "bundle_version", "bundle_sha256", "precision", "tile_sha256", "milliseconds")

Row = Mapping[str, object]
"""Values by column; a column that is not there stays empty, as does None."""


def answered(tile: Path, result: Result) -> Row:
    """The row of a tile, in the values of its JSON answer."""
    label, bundle, cells = result.label, result.bundle_used, result.cells
    row: dict[str, object] = {
        "tile": tile,
        "status": "ok",
        "width": result.tile.width,
        "height": result.tile.height,
        "mpp": result.tile.mpp,
        "cells": len(cells),
        "outliers": result.outliers.count,
        "cut_nuclei": result.tile.cut_nuclei,
        "focus": result.quality.focus,
        "label": label.value,
        "score": label.score,
        "probability": label.probability,
        "reason": label.reason,
        "flags": " ".join(flag.code for flag in result.quality.flags),
        "bundle": bundle.name,
        "bundle_version": bundle.version,
        "bundle_sha256": bundle.sha256,
        "precision": bundle.precision,
        "tile_sha256": result.tile.sha256,
        "milliseconds": result.timing.total,
    }
    for cluster in result.clusters:
        values = (cluster.count, cluster.proportion, *(cluster.interval or (None, None)))
        row.update(zip(_cluster_columns(cluster.cluster), values, strict=True))
    return row


def failed(tile: Path, error: str) -> Row:
    """The row of a tile without an answer."""
    return {"tile": tile, "status": "failed", "error": error}


def summary_table(rows: Sequence[Row], n_clusters: int) -> bytes:
    """All rows, under the columns of a bundle with this many clusters."""
    clusters = [column for k in range(n_clusters) for column in _cluster_columns(k)]
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, [*HEAD, *LABEL, *clusters, *TAIL])
    writer.writeheader()
    writer.writerows(rows)
    # The name of a file need not be text.
    return buffer.getvalue().encode(errors="backslashreplace")


def _cluster_columns(k: int) -> tuple[str, ...]:
    return (f"count_{k}", f"proportion_{k}", f"low_{k}", f"high_{k}")
