"""Reference ranges: between which limits the bundle's reference tiles lie, and how a tile compares with them.

The models are the member `reference_ranges` of a manifest; `reference_fit` computes them. A range holds 95% of further
tiles like the reference tiles, as the reference intervals of a laboratory report do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from app.pipeline.presets import Fraction, ManifestModel, Positive
from app.pipeline.types import Float64Array, Int64Array

LEVEL = 0.95
"""Share of further tiles like the reference tiles that a range, or the region, holds."""
MIN_SUBJECTS = 120
"""Number of reference subjects that CLSI EP28-A3c asks for."""
MIN_TILES = 5
"""With fewer reference tiles, nothing is called low or high, and there is no region."""
SMOOTHING = 0.5
"""Added to every count before its logarithm is taken, so that a cluster without a cell has one."""
EDGE = 0.005
"""A share below this or above 1 minus this is as good as 0 or 1: its log odds would say more than was measured."""
NORMAL_QUANTILE = 1.959964
"""97.5% of a normal distribution lies below this many standard deviations."""
MAX_EXPONENT = 700.0
"""Larger exponents have no finite exponential."""

Scale = Literal["proportion", "share", "log", "count", "plain"]
Flag = Literal["low", "within", "high"]
Ends = tuple[float, float]


class ReferenceTile(ManifestModel):
    """What is kept of one reference tile; its name is not."""

    counts: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        description="This many cells were counted in each of the K clusters."
    )
    medians: tuple[float | None, ...] = Field(
        description="Each of `measurements` has this median over the counted cells, in µm at the bundle's scale; null "
        "if it could be measured on none of them."
    )
    cellularity: Fraction | None = Field(description="The tile has this cellularity, 0 to 1; null if it is not known.")
    patient: int | None = Field(
        ge=0, description="Tiles of one patient have the same number; null if patients are not known."
    )


class Limits(ManifestModel):
    """The range of a quantity over the reference tiles, from 2.5% to 97.5%.

    All numbers but counts are on `scale`: the log odds of a proportion or a share, the logarithm of a positive
    quantity, the logarithm of a count plus ½, or the quantity itself (plain).
    """

    scale: Scale = Field(description="The limits are on this scale.")
    centre: float = Field(description="The middle of the reference tiles, where the patients weigh the same.")
    low: float = Field(description="2.5% of further tiles like the reference tiles lie below this.")
    high: float = Field(description="2.5% of further tiles like the reference tiles lie above this.")
    low_interval: Ends = Field(description="The true 2.5% percentile lies between these with 90% confidence.")
    high_interval: Ends = Field(description="The true 97.5% percentile lies between these with 90% confidence.")
    cells: Positive | None = Field(
        description="The reference tiles have this many cells (harmonic mean); null if the number does not matter."
    )
    cell_sd: float = Field(
        ge=0,
        description="Because cells are a sample, the quantity of a tile with n of them varies by this over √n, as a "
        "standard deviation. The range of a tile with fewer cells than the reference tiles is wider for that reason.",
    )
    n_tiles: int = Field(ge=2, description="The range was computed from this many tiles.")
    n_patients: int | None = Field(ge=2, description="These tiles are of this many patients; null if not known.")
    left_out_within: Fraction | None = Field(
        description="This share of the tiles lies within the range that is computed without them, and without the "
        "other tiles of their patient; null if fewer than three can be left out in turn."
    )


class Region(ManifestModel):
    """Where the compositions of the reference tiles lie: an ellipsoid in centred log-ratios (Aitchison 1986)."""

    mean: tuple[float, ...] = Field(description="The centre of the region has these K centred log-ratios.")
    covariance: tuple[tuple[float, ...], ...] = Field(
        description="The centred log-ratios of the tiles have this covariance, (K, K)."
    )
    shrinkage: Fraction = Field(
        description="This share of the covariance was replaced by a round one of the same trace (Ledoit and Wolf "
        "2004); 0 if there are enough tiles."
    )
    threshold: Positive = Field(
        description="Further tiles like the reference tiles are farther from the mean than this with a probability of "
        "5%, as a Mahalanobis distance."
    )
    cells: Positive = Field(description="The reference tiles have this many cells (harmonic mean).")
    n_tiles: int = Field(ge=2, description="The region was computed from this many tiles.")
    n_patients: int | None = Field(ge=2, description="These tiles are of this many patients; null if not known.")
    left_out_within: Fraction | None = Field(
        description="This share of the tiles lies within the region that is computed without them, and without the "
        "other tiles of their patient; null if there is no region without some of them."
    )


class ReferenceRanges(ManifestModel):
    """What the reference tiles of a bundle are like, and the ranges that follow."""

    basis: str = Field(min_length=1, description="It says which tiles these are.")
    measurements: tuple[str, ...] = Field(description="The names of the measurements, in the order of all medians.")
    tiles: tuple[ReferenceTile, ...] = Field(min_length=2)
    proportions: tuple[Limits, ...] = Field(description="The range of each cluster's proportion, by number.")
    medians: tuple[Limits | None, ...] = Field(
        description="The range of the median of each measurement; null if fewer than two tiles have one."
    )
    cellularity: Limits | None = Field(
        description="The range of the cellularity; null if it is known of fewer than two tiles."
    )
    region: Region | None = Field(
        description="Where whole compositions lie; null if there are fewer than five patients or, if these are not "
        "known, tiles, or if all tiles are alike."
    )
    left_out_within: Fraction | None = Field(
        description="The mean of `left_out_within` over all ranges; null if there is none."
    )

    @model_validator(mode="after")
    def _consistent(self) -> ReferenceRanges:
        k = len(self.proportions)
        sizes: dict[str, tuple[Sequence[object], int]] = {"medians": (self.medians, len(self.measurements))}
        for i, tile in enumerate(self.tiles):
            sizes |= {f"tiles[{i}].counts": (tile.counts, k)}
            sizes |= {f"tiles[{i}].medians": (tile.medians, len(self.measurements))}
        if self.region is not None:
            sizes |= {"region.mean": (self.region.mean, k), "region.covariance": (self.region.covariance, k)}
            sizes |= {f"region.covariance[{i}]": (row, k) for i, row in enumerate(self.region.covariance)}
        for field, (values, wanted) in sizes.items():
            if len(values) != wanted:
                raise ValueError(f"{field} must have {wanted} members, found {len(values)}")
        return self

    def of_median(self, measurement: str) -> Limits | None:
        """Return the range of the median of a measurement, or None where the bundle has none."""
        return self.medians[self.measurements.index(measurement)] if measurement in self.measurements else None


@dataclass(frozen=True, slots=True)
class Compared:
    """A quantity of a tile beside the range of the reference tiles, in the unit of the quantity.

    Attributes:
        low: the lower limit.
        high: the upper limit.
        low_interval: between these lies the true lower limit with 90% confidence.
        high_interval: between these lies the true upper limit with 90% confidence.
        n_tiles: the range rests on this many tiles.
        n_patients: and on this many patients; None if they are not known.
        indicative: whether fewer than 120 patients are known to be behind the range.
        flag: where the quantity lies; None where that is not said.
    """

    low: float
    high: float
    low_interval: Ends
    high_interval: Ends
    n_tiles: int
    n_patients: int | None
    indicative: bool
    flag: Flag | None


@dataclass(frozen=True, slots=True)
class Within:
    """A composition beside the region of the reference tiles.

    Attributes:
        value: whether it lies within the region.
        distance: Mahalanobis distance from the mean of the reference tiles.
        threshold: the distance up to which it lies within.
        n_tiles: the region rests on this many tiles.
    """

    value: bool
    distance: float
    threshold: float
    n_tiles: int


def compare(limits: Limits, value: float | None, n_cells: int, *, factor: float = 1.0) -> Compared:
    """Put a quantity of a tile beside the range of the reference tiles.

    A tile with fewer cells than the reference tiles varies more, because its cells are a smaller sample. The range is
    therefore the one that reference tiles with as few cells would have. It never narrows: a slide has many more cells
    than a tile, but how much whole slides differ is not known.

    Args:
        limits: the range from the manifest.
        value: the quantity; None where the tile has none.
        n_cells: number of cells that it was computed from; 0 gives the range of the reference tiles as they are.
        factor: what a quantity of the manifest is multiplied by, for another unit; `value` is in that unit already.
    """
    low, high, *ends = (_shown(end, limits.scale, n_cells) * factor for end in _for_cells(limits, n_cells))
    flag: Flag | None = None
    if value is not None and limits.n_tiles >= MIN_TILES and low < high:
        flag = "low" if value < low else "high" if value > high else "within"
    return Compared(
        low=low,
        high=high,
        low_interval=(ends[0], ends[1]),
        high_interval=(ends[2], ends[3]),
        n_tiles=limits.n_tiles,
        n_patients=limits.n_patients,
        indicative=limits.n_patients is None or limits.n_patients < MIN_SUBJECTS,
        flag=flag,
    )


def distance_from(ranges: ReferenceRanges, names: Iterable[str], medians: Iterable[tuple[float, int]]) -> float | None:
    """Say how far a tile's medians lie from those of the reference tiles.

    Args:
        ranges: from the manifest.
        names: of measurements that do not depend on the scale.
        medians: of each of these over the counted cells, NaN where there is none, and of how many cells.

    Returns:
        The root mean square, over the measurements, of the distance from the centre of the range as a multiple of half
        the range: 1 for a tile whose medians all lie at an end of their ranges. Ranges of few cells are wider, as in
        `compare`. None if no median can be compared, or there are fewer than five reference tiles.
    """
    squares = []
    for name, (median, n_cells) in zip(names, medians, strict=True):
        limits = ranges.of_median(name)
        if limits is None or limits.n_tiles < MIN_TILES or not n_cells or not math.isfinite(median):
            continue
        low, high = _for_cells(limits, n_cells)[:2]
        with np.errstate(divide="ignore", invalid="ignore"):  # a density of 0 or less has no logarithm
            place = float(on_scale(np.array(median), limits.scale))
        if low < high and math.isfinite(place):
            squares.append(((place - limits.centre) / ((high - low) / 2)) ** 2)
    return math.sqrt(sum(squares) / len(squares)) if squares else None


def locate(region: Region, counts: Int64Array) -> Within | None:
    """Say whether a whole composition lies where those of the reference tiles lie.

    As in `compare`, the counting of fewer cells is allowed for: the covariance of log-ratios that a multinomial sample
    has (the delta method) is added, as far as the reference tiles do not have it already.

    Args:
        region: from the manifest.
        counts: (K,) counted cells.

    Returns:
        None for a tile without a counted cell.
    """
    n_cells = int(counts.sum())
    if n_cells == 0:
        return None
    mean, basis = np.array(region.mean), log_ratio_basis(len(counts))
    shares = np.exp(mean - mean.max())
    sampling = np.diag(shares.sum() / shares) * _more_sampling(n_cells, region.cells)
    covariance = basis @ (np.array(region.covariance) + sampling) @ basis.T
    distance = float(mahalanobis(basis @ mean, covariance, log_ratios(counts)))
    return Within(distance <= region.threshold, distance, region.threshold, region.n_tiles)


def log_ratio_basis(k: int) -> Float64Array:
    """Return (K − 1, K) float64: rows that turn logarithms of shares into isometric log-ratios (Egozcue 2003)."""
    # Imported here, because whatever reads a manifest would load it, also the help of a command.
    from scipy.linalg import helmert

    return np.asarray(helmert(k), dtype=np.float64)


def log_ratios(counts: Int64Array) -> Float64Array:
    """Return the isometric log-ratios of (…, K) counts, each with ½ added: (…, K − 1) float64."""
    return np.asarray(np.log(counts + SMOOTHING) @ log_ratio_basis(counts.shape[-1]).T, dtype=np.float64)


def mahalanobis(mean: Float64Array, covariance: Float64Array, points: Float64Array) -> Float64Array:
    """Return the distance of (…, p) points from a (p,) mean in standard deviations, (…,) float64."""
    rest = points - mean
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), rest[..., None])[..., 0]
    return np.asarray(np.sqrt((whitened**2).sum(axis=-1)))


def on_scale(values: Float64Array, scale: Scale) -> Float64Array:
    """Return quantities on a scale on which tiles are taken to be normally distributed; NaN stays NaN.

    Args:
        values: (…,) float64; for `proportion` those of `smoothed`.
        scale: as in `Limits`.
    """
    if scale == "proportion":
        return np.asarray(np.log(values) - np.log1p(-values))
    if scale == "share":
        return on_scale(np.clip(values, EDGE, 1 - EDGE), "proportion")
    if scale == "plain":
        return values
    return np.log(values + (SMOOTHING if scale == "count" else 0))


def smoothed(counts: Int64Array) -> Float64Array:
    """Return the proportions of (…, K) counts, each as (count + ½) / (n + 1): never 0 or 1."""
    return np.asarray((counts + SMOOTHING) / (counts.sum(axis=-1, keepdims=True) + 2 * SMOOTHING))


def _for_cells(limits: Limits, n_cells: int) -> list[float]:
    """Return low, high and the ends of their intervals for a tile of so many cells, on the scale."""
    stored = (limits.low, limits.high, *limits.low_interval, *limits.high_interval)
    if limits.cells is None or n_cells == 0:
        return list(stored)
    # The half-width of a range grows by this, in quadrature.
    more = NORMAL_QUANTILE * limits.cell_sd * math.sqrt(_more_sampling(n_cells, limits.cells))
    return [limits.centre + math.copysign(math.hypot(end - limits.centre, more), end - limits.centre) for end in stored]


def _more_sampling(n_cells: int, reference_cells: float) -> float:
    """Return 1/n − 1/n of the reference tiles; 0 where the tile has more cells than they."""
    return max(0.0, 1 / n_cells - 1 / reference_cells)


def _shown(end: float, scale: Scale, n_cells: int) -> float:
    """Return a limit in the unit of the quantity."""
    if scale == "plain":
        return end
    if scale == "proportion":
        # The smoothing is undone, so that the limit can be held against count / n.
        share = 0.5 * (1 + math.tanh(end / 2))
        return min(1.0, max(0.0, share + (share - SMOOTHING) / n_cells if n_cells else share))
    if scale == "share":
        share = 0.5 * (1 + math.tanh(end / 2))
        return 0.0 if share <= EDGE else 1.0 if share >= 1 - EDGE else share
    positive = math.exp(min(MAX_EXPONENT, end))
    return positive if scale == "log" else max(0.0, positive - SMOOTHING)
