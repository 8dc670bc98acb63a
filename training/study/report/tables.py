"""Markdown tables: one figure per cell, or the mean and the spread over repeated fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any, Literal

from training.study.systems.cell_systems import LazySystem

Record = dict[str, Any]
NOT_MEASURED = "–"
TITLES = {
    "any": "any flag",
    "tile": "right, tiles",
    "crop": "right, crops",
    "picture": "right, pictures",
    "f1": "F1",
    "kainz_recall": "recall of Kainz's dots",
    "kainz_recall_code_1": "of code 1",
    "seen": "tiles that were seen",
    "iou": "IoU",
    "dice": "Dice",
    "aji": "AJI",
    "pq": "PQ",
    "seconds": "s per tile",
    "coverage": "Q is right",
    "coverage_too_sure": "too sure",
    "coverage_too_unsure": "too unsure",
    "coverage_of_counts": "counts alone",
    "flagged": "share of tiles with many_outliers",
    "unlike": "with unlike_training_tiles",
    "labelled": "with a label",
    "by_cells": "refused by their cells",
    "pooled": "largest difference of a proportion",
    "worst_tile": "in any tile",
    "foreign": "other organs with a label",
    "error_if_forced": "error if forced",
    "cells_map": "map",
    "stroma": "bone and stroma",
    "stroma_map": "map",
    "red": "red cells",
    "red_map": "map",
    "rest_map": "map",
    "rest": "fat and background",
    "dice_cells": "Dice of cells",
    "real": "real cells",
    "told_apart": "told apart",
    "nearest": "to the nearest real cell, median",
    "nearest_real": "between real cells",
    "closest": "smallest",
    "closest_real": "smallest between real cells",
}
"""Headings of columns whose name does not say enough."""


@dataclass(frozen=True)
class Column:
    """A column of `spread_table`.

    Attributes:
        name: field of the records.
        title: heading.
        spec: format of a number.
        best: which end of the scale is better; None if neither is.
    """

    name: str
    title: str
    spec: str = ".3f"
    best: Literal["highest", "lowest"] | None = None


def table(keys: tuple[str, ...], rows: Mapping[Any, dict[str, Any]], columns: dict[str, str]) -> str:
    """Return a Markdown table; a figure that was not measured is a dash.

    Args:
        keys: headings of the first columns.
        rows: figures of each row, by the texts of its first columns.
        columns: format of each figure, by its name.
    """
    lines = _head([*keys, *(TITLES.get(column, column) for column in columns)])
    for key, scores in rows.items():
        figures = [
            format(scores[column], spec) if column in scores else NOT_MEASURED for column, spec in columns.items()
        ]
        lines.append(_line([*key, *figures]))
    return "\n".join(lines) + "\n"


def spread_table(keys: tuple[str, ...], rows: Mapping[Any, list[Record]], columns: list[Column]) -> str:
    """Return a Markdown table with the mean ± sd (n − 1) of each figure over the records of a row.

    A single record has no sd, and a figure that no record of a row has is a dash. The best mean of a column, as it is
    written and with ties, is bold if the column has a better end and more than one row.

    Args:
        keys: headings of the first columns.
        rows: records of each row, by the texts of its first columns.
        columns: the figures.
    """
    lines = _head([*keys, *(column.title for column in columns)])
    best = {column.name: _best(column, rows.values()) for column in columns}
    for key, records in rows.items():
        lines.append(_line([*key, *(_cell(column, records, best[column.name]) for column in columns)]))
    return "\n".join(lines) + "\n"


def group_by(records: Iterable[Record], field: str) -> dict[Any, list[Record]]:
    """Return the records by the value of a field, in the order in which the values first occur."""
    groups: dict[Any, list[Record]] = {}
    for record in records:
        groups.setdefault(record[field], []).append(record)
    return groups


def describe_fits(records: list[Record], over: Literal["seed", "split"] = "seed") -> str:
    """Return a paragraph that says when, on what, with what and with which seeds, or splits, records were measured."""
    dates = sorted({record["date"] for record in records})
    libraries = {f"{name} {number}" for record in records for name, number in record["libraries"].items()}
    threads = " or ".join(str(number) for number in sorted({record["threads"] for record in records}))
    numbers = ", ".join(str(number) for number in sorted({record[over] for record in records}))
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    devices = " or ".join(sorted({record["device"] for record in records}))
    return (
        f"Mean ± sd over {over}s ({numbers}), each a fit of its own. Measured {when} on {devices} "
        f"({threads} CPU threads) with {', '.join(sorted(libraries))}.\n"
    )


def remarks(records: list[Record], systems: Mapping[str, LazySystem]) -> str:
    """Return a paragraph for each system among the records of which a reader has to know something."""
    recorded = {record["system"] for record in records}
    return "".join(f"\n{system.remark}\n" for name, system in systems.items() if system.remark and name in recorded)


def _head(titles: list[str]) -> list[str]:
    return [_line(titles), "|---" * len(titles) + "|"]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _values(column: Column, records: list[Record]) -> list[float]:
    return [record[column.name] for record in records if column.name in record]


def _best(column: Column, rows: Iterable[list[Record]]) -> str | None:
    """Return the best mean of a column, as it is written; None if no mean is better than another."""
    means = [mean(values) for records in rows if (values := _values(column, records))]
    if column.best is None or len(means) < 2:
        return None
    return format(max(means) if column.best == "highest" else min(means), column.spec)


def _cell(column: Column, records: list[Record], best: str | None) -> str:
    values = _values(column, records)
    if not values:
        return NOT_MEASURED
    written = format(mean(values), column.spec)
    text = f"**{written}**" if written == best else written
    return f"{text} ± {format(stdev(values), column.spec)}" if len(values) > 1 else text
