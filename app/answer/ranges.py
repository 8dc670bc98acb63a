"""Proportions and measurements of a tile beside the reference ranges of the bundle."""

from __future__ import annotations

import numpy as np

from app.answer.schemas import MeasurementOut, RangeOut, WithinOut
from app.pipeline.manifest import Manifest
from app.pipeline.measure.cells import Measurements
from app.pipeline.measure.table import IN_PIXELS, MEASUREMENTS
from app.pipeline.proportions import Proportions
from app.pipeline.reference_ranges import Limits, compare, locate
from app.pipeline.types import BoolArray, Float64Array, Int64Array


def range_out(limits: Limits | None, value: float | None, n_cells: int = 0, factor: float = 1.0) -> RangeOut | None:
    """Return a quantity beside its range; None where the bundle has no range. The arguments are those of `compare`."""
    return None if limits is None else RangeOut.model_validate(compare(limits, value, n_cells, factor=factor))


def proportion_ranges(proportions: Proportions, manifest: Manifest) -> list[RangeOut | None]:
    """Return the range of each cluster's proportion, and where this one lies."""
    ranges, values = manifest.reference_ranges, proportions.values
    if ranges is None:
        return [None] * manifest.n_clusters
    return [
        range_out(limits, None if values is None else float(values[k]), proportions.n_counted)
        for k, limits in enumerate(ranges.proportions)
    ]


def within_out(proportions: Proportions, manifest: Manifest) -> WithinOut | None:
    """Say whether the composition is one that reference tiles have; None where that is not known."""
    region = manifest.reference_ranges.region if manifest.reference_ranges else None
    within = None if region is None else locate(region, proportions.counts)
    return None if within is None else WithinOut.model_validate(within)


def measurements_out(
    measurements: Measurements, counted: BoolArray, manifest: Manifest, *, scale_known: bool
) -> list[MeasurementOut]:
    """Return every measurement over the counted cells of a tile.

    Args:
        measurements: of all N cells.
        counted: (N,) bool, which cells count.
        manifest: the bundle's; it holds the reference ranges.
        scale_known: whether the scale of the tile is known; if not, sizes are in px.
    """
    quartiles, n = column_quartiles(measurements.shown(scale_known)[counted])
    ranges = manifest.reference_ranges
    found = []
    for column, measurement in enumerate(MEASUREMENTS):
        first, median, third = quartiles[:, column].tolist() if n[column] else (None, None, None)
        factor = 1.0 if scale_known else measurement.per_pixel(measurements.mpp)
        limits = ranges.of_median(measurement.name) if ranges else None
        found.append(
            MeasurementOut(
                measurement=measurement.column(scale_known),
                title=measurement.title,
                group=measurement.group,
                unit=measurement.unit if scale_known else IN_PIXELS.get(measurement.unit, measurement.unit),
                n=int(n[column]),
                median=median,
                quartiles=None if first is None else (first, third),
                reference=range_out(limits, median, int(n[column]), factor),
            )
        )
    return found


def column_quartiles(values: Float64Array) -> tuple[Float64Array, Int64Array]:
    """Return quartiles of each column of (N, M) values, NaN left out.

    Returns:
        (3, M) float64, NaN for a column without a value; and (M,) int64, how many values each column has.
    """
    n = np.isfinite(values).sum(axis=0)
    if len(values) == 0:
        return np.full((3, values.shape[1]), np.nan), n
    rising = np.sort(values, axis=0)  # NaN comes last
    places = np.array([[0.25], [0.5], [0.75]]) * np.maximum(n - 1, 0)
    below = np.floor(places).astype(int)
    low = np.take_along_axis(rising, below, axis=0)
    high = np.take_along_axis(rising, np.minimum(below + 1, np.maximum(n - 1, 0)), axis=0)
    return low + (high - low) * (places - below), n
