"""Nuclei of a tile → their measurements, each with the reason where it is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from app.pipeline.measure.chromatin import frame_px, measure_chromatin
from app.pipeline.measure.cytoplasm import rings
from app.pipeline.measure.density import Levels, density_levels, distribution
from app.pipeline.measure.neighbours import measure_neighbours
from app.pipeline.measure.pixels import MIN_PIXELS, NuclearPixels
from app.pipeline.measure.shape import measure_shape
from app.pipeline.measure.table import (
    CHROMATIN,
    CYTOPLASM,
    DECIMALS,
    DENSITY,
    INDEX,
    LENGTH_POWERS,
    MEASUREMENTS,
    NO_CYTOPLASM,
    NO_STAIN,
    NOT_DEFINED,
    REASONS,
    SHAPE,
    TOO_FEW_PIXELS,
    TOUCHES_BORDER,
    Measurement,
)
from app.pipeline.nuclei.outlines import contours
from app.pipeline.reference_ranges import ReferenceRanges, distance_from
from app.pipeline.types import BoolArray, Float64Array, Int32Array, Int64Array, Nuclei, Stain, UInt8Array


def _columns(group: tuple[object, ...]) -> slice:
    first = next(i for i, measurement in enumerate(MEASUREMENTS) if measurement is group[0])
    return slice(first, first + len(group))


SHAPE_COLUMNS, DENSITY_COLUMNS = _columns(SHAPE), _columns(DENSITY)
CYTOPLASM_COLUMNS, CHROMATIN_COLUMNS = _columns(CYTOPLASM), _columns(CHROMATIN)
NEIGHBOUR_COLUMNS = slice(CHROMATIN_COLUMNS.stop, len(MEASUREMENTS))


@dataclass(frozen=True, slots=True)
class Measurements:
    """The measurements of N cells, in µm at the bundle's scale; column j is MEASUREMENTS[j].

    Attributes:
        values: (N, M) float64, NaN where one is missing.
        reasons: (N, M) uint8, why it is missing: an index into `table.REASONS`, 0 where it is there.
        mpp: µm per pixel at which they were measured.
    """

    values: Float64Array
    reasons: UInt8Array
    mpp: float

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.values)

    def select(self, kept: BoolArray | Int64Array) -> Measurements:
        """Return the measurements of some of the cells.

        Args:
            kept: (N,) bool, or the cells' numbers.
        """
        return Measurements(self.values[kept], self.reasons[kept], self.mpp)

    def column(self, name: str) -> Float64Array:
        """Return (N,) the values of one measurement; its name is that without a unit."""
        return np.asarray(self.values[:, INDEX[name]])

    def shown(self, scale_known: bool) -> Float64Array:
        """Return (N, M) the values as they are shown: rounded, and sizes in px where the tile's scale is not known."""
        return shown(self.values, None if scale_known else self.mpp)

    def reason(self, cell: int, column: int) -> str:
        """Return why a measurement is missing; empty where it is there."""
        return REASONS[self.reasons[cell, column]]


def medians(values: Float64Array, columns: Iterable[str]) -> dict[str, float]:
    """Return the median of each of some measurements, without those that were made on no cell.

    Args:
        values: (N, M) float64 in µm, NaN where one is missing; column j is MEASUREMENTS[j].
        columns: their public names where the scale is known; one that this version does not know is left out.
    """
    places = {measurement.column(scale_known=True): i for i, measurement in enumerate(MEASUREMENTS)}
    measured = {name: values[~np.isnan(values[:, places[name]]), places[name]] for name in columns if name in places}
    return {name: float(np.median(found)) for name, found in measured.items() if found.size}


def distance(columns: Iterable[Float64Array], ranges: ReferenceRanges | None) -> float | None:
    """Say how far the medians of a tile or slide lie from those of the reference tiles; see `distance_from`.

    Measurements that grow with the scale are left out: it may not be known, and a flag of its own judges it.

    Args:
        columns: for each of MEASUREMENTS (N,) float64, its values on the counted cells, NaN where one is missing; in
            any unit. They may come one by one.
        ranges: of the bundle; without them, there is no distance.
    """
    if ranges is None:
        return None
    names, found = [], []
    for measurement, values in zip(MEASUREMENTS, columns, strict=True):
        if measurement.unit not in LENGTH_POWERS:
            measured = values[~np.isnan(values)]
            names.append(measurement.name)
            found.append((float(np.median(measured)) if measured.size else np.nan, measured.size))
    return distance_from(ranges, names, found)


def shown(
    values: Float64Array, mpp: float | None = None, measurements: Sequence[Measurement] = MEASUREMENTS
) -> Float64Array:
    """Return measurements as they are shown, without digits that mean nothing.

    Args:
        values: (…, M) in µm.
        mpp: µm per pixel to turn sizes into px; None leaves them in µm.
        measurements: what the M columns are.
    """
    factors = [1.0 if mpp is None else one.per_pixel(mpp) for one in measurements]
    powers = np.array([10.0 ** DECIMALS[one.unit] for one in measurements])
    return np.asarray(np.rint(values * factors * powers) / powers)


def measure_cells(stains: Stain, nuclei: Nuclei, mpp: float, outlines: list[Int32Array] | None = None) -> Measurements:
    """Measure every nucleus of a tile.

    Args:
        stains: the normalised and unmixed tile.
        nuclei: all nuclei of the tile, those included that its border cuts.
        mpp: µm per pixel.
        outlines: see `nuclei.outlines.contours`; they are found where they are not given.

    Returns:
        One row for each nucleus. A nucleus that the border cuts has no size and no shape; one of fewer than MIN_PIXELS
        has no shape and no densities; without two stains there are no densities.
    """
    n = len(nuclei)
    values = np.full((n, len(MEASUREMENTS)), np.nan)
    reasons = np.zeros(values.shape, np.uint8)
    matrix = stains.stain_matrix
    levels = None if matrix is None else density_levels(stains.normalised, matrix)
    pixels = NuclearPixels.of(nuclei, None if levels is None else levels[0], frame_px(mpp))
    found = contours(nuclei) if outlines is None else outlines
    values[:, SHAPE_COLUMNS] = measure_shape(nuclei, pixels, found, mpp)
    if levels is not None:
        _measure_densities(values, pixels, levels, mpp)
        _measure_cytoplasm(values, nuclei, levels, stains.tissue, mpp)
    values[:, NEIGHBOUR_COLUMNS], reasons[:, NEIGHBOUR_COLUMNS] = measure_neighbours(nuclei, mpp)
    values[nuclei.touches_border, SHAPE_COLUMNS] = np.nan
    _give_reasons(values, reasons, nuclei, has_stain=levels is not None)
    return Measurements(values, reasons, mpp)


def _measure_densities(values: Float64Array, pixels: NuclearPixels, stains: tuple[Levels, Levels], mpp: float) -> None:
    counts = pixels.stretches.counts
    of_haematoxylin = distribution(pixels.levels, pixels.stretches)
    of_eosin = distribution(stains[1].ravel()[pixels.in_tile], pixels.stretches)
    values[:, DENSITY_COLUMNS] = np.hstack([of_haematoxylin, of_eosin])
    means, sds = of_haematoxylin[:, 0], of_haematoxylin[:, 1]
    values[:, CHROMATIN_COLUMNS] = measure_chromatin(pixels, stains[0], means, sds, mpp)
    few = counts < MIN_PIXELS
    values[few, DENSITY_COLUMNS] = values[few, CHROMATIN_COLUMNS] = np.nan


def _measure_cytoplasm(
    values: Float64Array, nuclei: Nuclei, stains: tuple[Levels, Levels], tissue: BoolArray, mpp: float
) -> None:
    places, stretches, owners = rings(nuclei.label_image, tissue, mpp)
    found = [distribution(levels.ravel()[places], stretches) for levels in stains]
    values[owners, CYTOPLASM_COLUMNS] = np.hstack(found)


def _give_reasons(values: Float64Array, reasons: UInt8Array, nuclei: Nuclei, *, has_stain: bool) -> None:
    """Say why values are missing, the most general reason first."""
    missing = np.isnan(values) & (reasons == 0)
    reasons[missing] = NOT_DEFINED
    few = np.zeros_like(missing)
    few[nuclei.areas_px < MIN_PIXELS, : CHROMATIN_COLUMNS.stop] = True
    few[:, SHAPE_COLUMNS] = True
    few[:, CYTOPLASM_COLUMNS] = False
    reasons[missing & few] = TOO_FEW_PIXELS
    reasons[:, CYTOPLASM_COLUMNS][missing[:, CYTOPLASM_COLUMNS]] = NO_CYTOPLASM
    if not has_stain:
        without = slice(DENSITY_COLUMNS.start, CHROMATIN_COLUMNS.stop)
        reasons[:, without] = NO_STAIN
    reasons[nuclei.touches_border, SHAPE_COLUMNS] = TOUCHES_BORDER
