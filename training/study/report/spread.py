"""Tables of repeated fits: mean ± sd over seeds, the best in bold, and where and when they were measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any, Literal

Record = dict[str, Any]
NOT_MEASURED = "–"


@dataclass(frozen=True)
class Column:
    """A figure of the records.

    Attributes:
        name: its field.
        title: its heading.
        spec: how a number of it is written.
        best: which end is; None where neither end is better.
    """

    name: str
    title: str
    spec: str = ".3f"
    best: Literal["highest", "lowest"] | None = None


def spread_table(keys: tuple[str, ...], rows: Mapping[Any, list[Record]], columns: list[Column]) -> str:
    """A Markdown table: a row by its keys, with the mean ± sd (n − 1) of each figure over the row's records.

    Of one record there is no sd; a figure that no record of a row has is a dash. The best mean of a column is bold, as
    it is written, ties included, where the column has a better end and more than one row.
    """
    lines = [
        "| " + " | ".join([*keys, *(column.title for column in columns)]) + " |",
        "|---" * (len(keys) + len(columns)) + "|",
    ]
    best = {column.name: _best(column, rows.values()) for column in columns}
    for key, records in rows.items():
        cells = [_cell(column, records, best[column.name]) for column in columns]
        lines.append("| " + " | ".join([*key, *cells]) + " |")
    return "\n".join(lines) + "\n"


def group_by(records: Iterable[Record], field: str) -> dict[Any, list[Record]]:
    """Records by the value of a field, in the order in which the values come."""
    groups: dict[Any, list[Record]] = {}
    for record in records:
        groups.setdefault(record[field], []).append(record)
    return groups


def provenance(records: list[Record]) -> str:
    """When and with what records were measured, and with which seeds, in one paragraph."""
    dates = sorted({record["date"] for record in records})
    libraries = {f"{name} {number}" for record in records for name, number in record["libraries"].items()}
    threads = " or ".join(str(number) for number in sorted({record["threads"] for record in records}))
    seeds = ", ".join(str(seed) for seed in sorted({record["seed"] for record in records}))
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    devices = " or ".join(sorted({record["device"] for record in records}))
    return (
        f"Mean ± sd over seeds ({seeds}), each a fit of its own. Measured {when} on {devices} ({threads} CPU threads) "
        f"with {', '.join(sorted(libraries))}.\n"
    )


def _values(column: Column, records: list[Record]) -> list[float]:
    return [record[column.name] for record in records if column.name in record]


def _best(column: Column, rows: Iterable[list[Record]]) -> str | None:
    """The best mean of a column, as it is written."""
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
