"""The types of cells as the formats, tables and summaries show them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

from app.answer.schemas import TypeOut
from app.pipeline.cell_types import NO_TYPE, CellTypes, myeloid_erythroid, summarise_types
from app.pipeline.manifest import Manifest
from app.pipeline.types import BoolArray

SHARES = ("count", "proportion", "low", "high")
"""What tables have of each type; the last two are the ends of its interval."""


class TypeColumns(TypedDict, total=False):
    """The types of cells, by the members of `CellColumns`; empty where the bundle has no cell classifier."""

    types: list[str | None]
    type_probabilities: list[float | None]
    corrected: list[bool]


class TypesOut(TypedDict):
    """What the answer says of the types as a whole, by its members; None where the bundle has no cell classifier."""

    types: list[TypeOut] | None
    cells_without_type: int | None
    myeloid_erythroid_ratio: float | None


def type_columns(found: CellTypes | None, manifest: Manifest) -> TypeColumns:
    """Return the type of every cell and its probability, and if some were corrected, which.

    Args:
        found: the types of N cells; None where the bundle has no cell classifier.
        manifest: the bundle's, whose classifier found them.
    """
    classifier = manifest.cell_classifier
    if found is None or classifier is None:
        return {}
    names = [*(one.name for one in classifier.types), None]  # NO_TYPE is −1
    largest = found.probabilities.max(axis=1).round(6).clip(0, 1).tolist()
    types = found.types.tolist()
    columns: TypeColumns = {
        "types": [names[type_] for type_ in types],
        "type_probabilities": [p if t != NO_TYPE else None for p, t in zip(largest, types, strict=True)],
    }
    return columns if found.corrected is None else {**columns, "corrected": found.corrected.tolist()}


def type_table(found: CellTypes | None, manifest: Manifest) -> dict[str, Sequence[object]]:
    """Return the same by the names that tables give these columns."""
    columns = type_columns(found, manifest)
    return {"type": columns["types"], "type_probability": columns["type_probabilities"]} if columns else {}


def types_out(found: CellTypes | None, counted: BoolArray, manifest: Manifest) -> TypesOut:
    """Return each type's share.

    Args:
        found: the types of N cells; None where the bundle has no cell classifier.
        counted: (N,) bool, which of them are counted.
        manifest: the bundle's, whose classifier found them.
    """
    classifier = manifest.cell_classifier
    if found is None or classifier is None:
        return {"types": None, "cells_without_type": None, "myeloid_erythroid_ratio": None}
    shares = summarise_types(found, counted, classifier)
    values, intervals = shares.proportions, shares.intervals
    types = [
        TypeOut(
            type=one.name,
            color=one.color,
            lineage=one.lineage,
            count=int(shares.counts[t]),
            proportion=None if values is None else float(values[t]),
            interval=None if intervals is None else (float(intervals[t, 0]), float(intervals[t, 1])),
        )
        for t, one in enumerate(classifier.types)
    ]
    return {
        "types": types,
        "cells_without_type": shares.n_without_type,
        "myeloid_erythroid_ratio": myeloid_erythroid(shares.counts, classifier.types),
    }


def type_names(manifest: Manifest) -> list[str]:
    """Return the names of the types that a bundle knows; none where it has no cell classifier."""
    return [one.name for one in manifest.cell_classifier.types] if manifest.cell_classifier else []


def share_columns(name: str) -> tuple[str, ...]:
    """Return the columns that tables of tiles and slides have for a type, in the order of SHARES."""
    return tuple(f"type_{share}_{name}" for share in SHARES)


def share_values(types: Iterable[TypeOut]) -> dict[str, int | float | None]:
    """Return the values of these columns."""
    row: dict[str, int | float | None] = {}
    for one in types:
        values = (one.count, one.proportion, *(one.interval or (None, None)))
        row.update(zip(share_columns(one.type), values, strict=True))
    return row
