"""Summaries of slides → the cohort's tables: one row a slide, and one a region."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from app.batch.summary import Counted, SlideSummary

Row = Mapping[str, str | int | float | None]
"""Values by column; a column that is not there stays empty, as does None."""

SLIDE = {"slide": pa.string(), "file": pa.string(), "patient": pa.string()}
STATUS = {"status": pa.string(), "error": pa.string()}
SIZE = {"width": pa.int64(), "height": pa.int64(), "mpp": pa.float64()}
COUNTED = {"tissue_mm2": pa.float64(), "cells": pa.int64(), "outliers": pa.int64()}
LABEL = {"label": pa.string(), "score": pa.float64(), "probability": pa.float64(), "reason": pa.string()}
ORIGIN = dict.fromkeys(
    ("bundle", "bundle_version", "bundle_sha256", "precision", "code_version", "fingerprint"), pa.string()
)
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A text that begins so is a formula to spreadsheets."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A slide without a result.

    Attributes:
        slide: its id in this run.
        file: name of its file, without folders.
        patient: as the table of patients says; None: it does not.
        reason: in words.
    """

    slide: str
    file: str
    patient: str | None
    reason: str


def slides_table(summaries: Sequence[SlideSummary], failures: Sequence[Failure], n_clusters: int) -> pa.Table:
    """slides.parquet: a row a slide, those that failed too, by id.

    For each cluster k: count_k, proportion_k with low_k and high_k of its interval, density_k (cells per mm² of
    tissue), islands_k and island_share_k (share of its cells in them); for each pair: nearest_i_j (median distance in
    µm from a cell of i to the nearest other one of j) and nearest_ratio_i_j (the mean one over that by chance).

    Args:
        summaries: of those that are done.
        failures: those that are not.
        n_clusters: K.
    """
    rows = [*map(_done, summaries), *map(_failed, failures)]
    columns = {
        **SLIDE,
        **STATUS,
        **SIZE,
        "tiles": pa.int64(),
        "flags": pa.string(),
        **_counted_columns(n_clusters),
        **{name: kind for k in range(n_clusters) for name, kind in _island_columns(k).items()},
        **{name: pa.float64() for i in range(n_clusters) for j in range(n_clusters) for name in _pair_columns(i, j)},
        **ORIGIN,
    }
    return _table(sorted(rows, key=lambda row: str(row["slide"])), columns)


def regions_table(summaries: Sequence[SlideSummary], n_clusters: int) -> pa.Table:
    """A row a region, in the order of slides and regions; columns as those of `slides_table` of the same name."""
    rows = [
        {**_identity(summary), "region": region.name, **_counted(region), **_origin(summary)}
        for summary in sorted(summaries, key=lambda summary: summary.slide)
        for region in summary.regions
    ]
    return _table(rows, {**SLIDE, "region": pa.string(), **_counted_columns(n_clusters), **ORIGIN})


def failures_table(failures: Sequence[Failure]) -> pa.Table:
    """A row a slide without a result, by id."""
    rows = [_failed(failure) for failure in sorted(failures, key=lambda failure: failure.slide)]
    return _table(rows, {**SLIDE, "error": pa.string()})


def table_csv(table: pa.Table) -> bytes:
    """CSV (RFC 4180), UTF-8; null is an empty field.

    Names of files and patients come from outside: one that a spreadsheet would take for a formula gets an apostrophe
    before it.
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(table.column_names)
    columns = [table[name].to_pylist() for name in table.column_names]
    writer.writerows([_harmless(value) for value in row] for row in zip(*columns, strict=True))
    return buffer.getvalue().encode()


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _table(rows: Sequence[Row], columns: Mapping[str, pa.DataType]) -> pa.Table:
    return pa.table({name: pa.array([_text(row.get(name)) for row in rows], kind) for name, kind in columns.items()})


def _text(value: str | int | float | None) -> str | int | float | None:
    # The name of a file need not be text.
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def _counted_columns(n_clusters: int) -> dict[str, pa.DataType]:
    clusters = {
        f"{name}_{k}": pa.int64() if name == "count" else pa.float64()
        for k in range(n_clusters)
        for name in ("count", "proportion", "low", "high", "density")
    }
    return {**COUNTED, **LABEL, **clusters}


def _island_columns(k: int) -> dict[str, pa.DataType]:
    return {f"islands_{k}": pa.int64(), f"island_share_{k}": pa.float64()}


def _pair_columns(i: int, j: int) -> tuple[str, str]:
    return f"nearest_{i}_{j}", f"nearest_ratio_{i}_{j}"


def _failed(failure: Failure) -> Row:
    return {
        "slide": failure.slide,
        "file": failure.file,
        "patient": failure.patient,
        "status": "failed",
        "error": failure.reason,
    }


def _identity(summary: SlideSummary) -> Row:
    return {"slide": summary.slide, "file": summary.file, "patient": summary.patient}


def _origin(summary: SlideSummary) -> Row:
    bundle = summary.bundle
    values = (bundle.name, bundle.version, bundle.sha256, bundle.precision, summary.code_version, summary.fingerprint)
    return dict(zip(ORIGIN, values, strict=True))


def _done(summary: SlideSummary) -> Row:
    row: dict[str, str | int | float | None] = {
        **_identity(summary),
        "status": "ok",
        "width": summary.width,
        "height": summary.height,
        "mpp": summary.mpp,
        "tiles": summary.tiles,
        "flags": " ".join(flag.code for flag in summary.quality.flags),
        **_counted(summary),
        **_origin(summary),
    }
    for island in summary.islands:
        row.update(zip(_island_columns(island.cluster), (island.islands, island.share), strict=True))
    for pair in summary.neighbours:
        row.update(zip(_pair_columns(pair.cluster, pair.other), (pair.median_um, pair.ratio), strict=True))
    return row


def _counted(counted: Counted) -> Row:
    label = counted.label
    row: dict[str, str | int | float | None] = {
        "tissue_mm2": counted.tissue_mm2,
        "cells": counted.cells,
        "outliers": counted.outliers.count,
        "label": label.value,
        "score": label.score,
        "probability": label.probability,
        "reason": label.reason,
    }
    for cluster in counted.clusters:
        k, (low, high) = cluster.cluster, cluster.interval or (None, None)
        row[f"count_{k}"], row[f"proportion_{k}"] = cluster.count, cluster.proportion
        row[f"low_{k}"], row[f"high_{k}"] = low, high
        row[f"density_{k}"] = round(cluster.count / counted.tissue_mm2, 3) if counted.tissue_mm2 > 0 else None
    return row
