"""The files that `marrowscope analyze` writes: answers, each beside the others of its tile, and summary.csv."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import typer

from app.answer.cell_types import share_columns, share_values
from app.answer.csv_table import csv_table
from app.answer.present import Result
from app.cohort.sources import Source
from app.files import write_whole

SUMMARY = "summary.csv"
FIRST_COLUMNS = ("tile", "status", "error", "width", "height", "mpp", "cells", "outliers", "cut_nuclei", "focus")
LABEL_COLUMNS = ("label", "score", "probability", "reason", "flags")
TYPES_COLUMNS: tuple[Literal["cells_without_type", "myeloid_erythroid_ratio"], ...] = (
    "cells_without_type",
    "myeloid_erythroid_ratio",
)
CORRECTIONS_COLUMNS = ("corrected_cells", "corrected_by")
SEGMENTATION_COLUMNS = ("segmentation_source", "segmentation_method")
LAST_COLUMNS = (
    "mpp_source",
    *SEGMENTATION_COLUMNS,
    "bundle",
    "bundle_version",
    "bundle_sha256",
    "precision",
    "tile_sha256",
    "milliseconds",
)

Row = Mapping[str, object]
"""Values of a row of the summary, by column. A missing column and None both give an empty field."""


NAME_ERRORS = {errno.ENAMETOOLONG, errno.EILSEQ}
"""Errors of a name that this disk does not take: it is too long, or holds bytes that are not text."""


class CannotWrite(OSError):
    """A file cannot be written; the text names it and says why."""


class NameRefused(OSError):
    """A file cannot be written because of its own name, so that others can; the text names it and says why."""


def write(data: bytes, target: Path) -> None:
    """Write or replace a file, and make its folder.

    Raises:
        CannotWrite: the file cannot be written; an older file of that name remains.
        NameRefused: the disk does not take the name of the file, or of a folder above it.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(data, target)
    except OSError as error:
        if error.errno in NAME_ERRORS:
            raise NameRefused(f"{target} cannot be written: {error.strerror}; rename the tile.") from error
        raise CannotWrite(f"{target} cannot be written: {error.strerror}") from error


def plan_outputs(
    tiles: Sequence[Source], folder: Path, suffixes: Sequence[str], inputs: Mapping[str, Sequence[Path]] | None = None
) -> list[list[Path]]:
    """Return the files of each tile, one for each suffix. `folder` also gets the summary.

    Args:
        tiles: the tiles.
        folder: the folder for the answers.
        suffixes: the endings of the files of each tile.
        inputs: other files that are read, by the words for what they are.

    Raises:
        typer.BadParameter: an answer would replace another answer, a tile or another input, or the summary would
            replace a table that marrowscope did not write.
        OSError: a file of the folder cannot be read.
    """
    outputs = [[folder / f"{tile.stem}{suffix}" for suffix in suffixes] for tile in tiles]
    summary = folder / SUMMARY
    # Many file systems take A.json and a.json for one file.
    first = {str(summary).casefold(): summary}
    for tile, files in zip(tiles, outputs, strict=True):
        for file in files:
            other = first.setdefault(str(file).casefold(), tile.path)
            if other is not tile.path:
                raise typer.BadParameter(_clash(other, tile.path, file, summary))
    written = [summary, *(file for files in outputs for file in files)]
    for kind, paths in {"a tile": [tile.path for tile in tiles], **(inputs or {})}.items():
        overwritten = {os.path.realpath(path) for path in written} & {os.path.realpath(path) for path in paths}
        if overwritten:
            raise typer.BadParameter(f"{min(overwritten)} is {kind}, and would be overwritten; choose another --out.")
    if summary.is_file() and not _is_summary(summary):
        raise typer.BadParameter(f"{summary} was not written by marrowscope; move it away, or choose another --out.")
    return outputs


def _clash(first: Path, second: Path, file: Path, summary: Path) -> str:
    if first is summary:
        return f"the answer of {second} and the summary of all tiles would both be {file}; rename the tile."
    hint = "" if first.parent == second.parent else ", or name the folder above both: its sub-folders stay apart"
    return f"{first} and {second} would both be answered in {file}; rename one{hint}."


def _is_summary(file: Path) -> bool:
    """Return whether a file begins as a summary does."""
    head = ",".join(FIRST_COLUMNS).encode()
    with file.open("rb") as opened:
        return opened.read(len(head)) == head


def answered_row(tile: Path, result: Result) -> Row:
    """Return the row of a tile that was analysed, with the values of its JSON answer."""
    label, bundle = result.label, result.bundle_used
    row: dict[str, object] = {
        "tile": str(tile),
        "status": "ok",
        "width": result.tile.width,
        "height": result.tile.height,
        "mpp": result.tile.mpp,
        "mpp_source": result.tile.mpp_source,
        "cells": len(result.analysis.cells),
        "outliers": result.outliers.count,
        "cut_nuclei": result.tile.cut_nuclei,
        "focus": result.quality.focus,
        "label": label.value,
        "score": label.score,
        "probability": label.probability,
        "reason": label.reason,
        "flags": " ".join(flag.code for flag in result.quality.flags),
        "segmentation_source": result.segmentation.source,
        "segmentation_method": result.segmentation.method,
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
    types = result.types
    row.update(share_values(types["types"] or []))
    if given := result.corrections:
        row.update(zip(CORRECTIONS_COLUMNS, (given.n, given.by), strict=True))
    return row | {name: types[name] for name in TYPES_COLUMNS}


def failed_row(tile: Path, error: str) -> Row:
    """Return the row of a tile that could not be analysed or answered."""
    return {"tile": str(tile), "status": "failed", "error": error}


def summary_table(rows: Sequence[Row], n_clusters: int, types: Sequence[str] = ()) -> bytes:
    """Return the summary as `csv_table` writes it: one row for each tile.

    Args:
        rows: the rows, in the order of the tiles.
        n_clusters: K of the bundle; each cluster has four columns.
        types: the names of the types that the bundle knows; each has four columns, and there are four more.
    """
    clusters = [column for k in range(n_clusters) for column in _cluster_columns(k)]
    shares = [column for name in types for column in share_columns(name)]
    of_types = [*shares, *TYPES_COLUMNS, *CORRECTIONS_COLUMNS] if types else []
    columns = [*FIRST_COLUMNS, *LABEL_COLUMNS, *clusters, *of_types, *LAST_COLUMNS]
    return csv_table(columns, ([row.get(column) for column in columns] for row in rows))


def _cluster_columns(k: int) -> tuple[str, ...]:
    return (f"count_{k}", f"proportion_{k}", f"low_{k}", f"high_{k}")
