"""Proportions and measurements of a tile beside the reference ranges of the bundle."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from app.answer.schemas import MeasurementOut, RangeOut, WithinOut
from app.pipeline.manifest import Manifest
from app.pipeline.measure.table import IN_PIXELS, MEASUREMENTS
from app.pipeline.proportions import Proportions
from app.pipeline.reference_ranges import Limits, compare, locate
from app.pipeline.types import Float64Array


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
    columns: Iterable[Float64Array], manifest: Manifest, px_mpp: float | None = None
) -> list[MeasurementOut]:
    """Return every measurement over the counted cells of a tile or slide.

    Args:
        columns: for each of MEASUREMENTS (N,) float64, its values on the counted cells as they are shown, NaN where one
            is missing. They may come one by one, because a slide has many cells.
        manifest: the bundle's; it holds the reference ranges.
        px_mpp: µm per pixel at which sizes were measured that are in px; None if they are in µm.
    """
    ranges, scale_known = manifest.reference_ranges, px_mpp is None
    found = []
    for measurement, values in zip(MEASUREMENTS, columns, strict=True):
        n, quartiles = quartiles_of(values)
        first, median, third = quartiles or (None, None, None)
        factor = 1.0 if px_mpp is None else measurement.per_pixel(px_mpp)
        limits = ranges.of_median(measurement.name) if ranges else None
        found.append(
            MeasurementOut(
                measurement=measurement.column(scale_known),
                title=measurement.title,
                group=measurement.group,
                unit=measurement.unit if scale_known else IN_PIXELS.get(measurement.unit, measurement.unit),
                n=n,
                median=median,
                quartiles=None if first is None else (first, third),
                reference=range_out(limits, median, n, factor),
            )
        )
    return found


def quartiles_of(values: Float64Array) -> tuple[int, list[float] | None]:
    """Return how many of (N,) values are not NaN, and their three quartiles; None if there are none."""
    n = int(np.isfinite(values).sum())
    if not n:
        return 0, None
    rising = np.sort(values)  # NaN comes last
    places = np.array([0.25, 0.5, 0.75]) * (n - 1)
    below = np.floor(places).astype(int)
    low, high = rising[below], rising[np.minimum(below + 1, n - 1)]
    quartiles: list[float] = (low + (high - low) * (places - below)).tolist()
    return n, quartiles
