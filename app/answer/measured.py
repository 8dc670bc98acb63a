"""The measurements of a tile's cells as the formats show them: their names, their values, and why some are missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.pipeline.measure.cells import Measurements
from app.pipeline.measure.table import MEASUREMENTS
from app.pipeline.types import Float64Array

Row = list[float | None]


@dataclass(frozen=True, slots=True)
class MeasuredColumns:
    """The measurements of N cells.

    Attributes:
        names: of the M columns, with units: px where the scale of the tile is not known.
        rows: N rows of M values, None where one is missing.
        reasons: by the number of a cell, why some of its columns are missing; a cell that has all is not in it.
    """

    names: list[str]
    rows: list[Row]
    reasons: dict[int, dict[str, str]]

    @classmethod
    def of(cls, measurements: Measurements, *, scale_known: bool) -> MeasuredColumns:
        """Return measurements as they are shown.

        Args:
            measurements: of N cells.
            scale_known: whether sizes are in µm; else they are in px.
        """
        names = [measurement.column(scale_known) for measurement in MEASUREMENTS]
        reasons: dict[int, dict[str, str]] = {}
        for cell, column in np.argwhere(measurements.reasons).tolist():
            reasons.setdefault(cell, {})[names[column]] = measurements.reason(cell, column)
        return cls(names, rows_of(measurements.shown(scale_known)), reasons)

    def by_name(self) -> list[dict[str, float | None]]:
        """Return the measurements of each cell by name, in alphabetical order: the hash of an answer sorts them."""
        order = sorted(range(len(self.names)), key=self.names.__getitem__)
        names = [self.names[j] for j in order]
        return [dict(zip(names, [row[j] for j in order], strict=True)) for row in self.rows]


def rows_of(shown: Float64Array) -> list[Row]:
    """Return (N, M) measurements as they are shown as plain values, None in place of NaN."""
    values = shown.astype(object)
    values[np.isnan(shown)] = None
    rows: list[Row] = values.tolist()
    return rows
