"""The cells of reference tiles → `ReferenceRanges`: a range of each quantity, and the region of the compositions.

The unit is the patient where patients are known, and else the tile. A tile of a new patient differs from the mean of
the patients by how patients differ and by how tiles of a patient differ, and both are in every range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import bdtr, fdtri, nctdtrit, stdtrit

from app.pipeline.reference_ranges import (
    LEVEL,
    MIN_SUBJECTS,
    MIN_TILES,
    NORMAL_QUANTILE,
    Ends,
    Limits,
    ReferenceRanges,
    ReferenceTile,
    Region,
    Scale,
    compare,
    locate,
    log_ratio_basis,
    log_ratios,
    mahalanobis,
    on_scale,
    smoothed,
)
from app.pipeline.types import BoolArray, Float64Array, Int64Array

TAIL = (1 - LEVEL) / 2
"""Share of further tiles below a range, and above it."""
DOUBT = 0.05
"""The 90% interval of a limit, which CLSI EP28-A3c asks for, leaves this out on either side."""
UNITS_PER_RATIO = 5
"""With fewer units per log-ratio than this, the covariance is shrunk."""
MAX_CONDITION = 1e6
"""It is shrunk as well where its largest and smallest eigenvalue differ by more than this factor."""
DRAWS = 4000
"""Number of simulated sets of reference tiles that give the threshold of a shrunk covariance."""
CHUNK = 500
"""So many of them are in memory at once."""
MAX_RATIO = 10.0
"""Logarithms are taken of medians of which the largest is less than this many times the smallest."""
MEDIAN_SD = 1.2533
"""A median of n normal values varies by this over √n, in their standard deviation: √(π / 2)."""
QUARTILES_SD = 1.349
"""The quartiles of normal values are this many standard deviations apart."""


@dataclass(frozen=True)
class ReferenceCells:
    """The counted cells of T reference tiles.

    Attributes:
        clusters: (N,) int64, the cluster of each cell; outliers are left out.
        tile_index: (N,) int64, the tile of each cell, 0 … T − 1; each tile has a cell.
        n_clusters: K.
        names: the names of M measurements.
        units: the unit of each measurement.
        measurements: (N, M) float64 at the bundle's scale, NaN where a cell was not measured.
        cellularity: (T,) float64, NaN where it is not known; None where it is known of no tile.
        patients: (T,) int64, equal for tiles of one patient; None where patients are not known.
    """

    clusters: Int64Array
    tile_index: Int64Array
    n_clusters: int
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    measurements: Float64Array | None = None
    cellularity: Float64Array | None = None
    patients: Int64Array | None = None


@dataclass(frozen=True)
class _Quantity:
    """A quantity of T tiles.

    Attributes:
        scale: as in `Limits`.
        values: (T,) float64, NaN where a tile has none; proportions are smoothed.
        shown: (T,) float64, the same as an answer shows them.
        cells: (T,) the number of cells behind each; None where it does not matter.
        spread: standard deviation of the quantity over tiles of one cell each, if the tissue is the same.
        units: (T,) the patient of each tile, or the tile itself.
        has_patients: whether `units` are patients.
    """

    scale: Scale
    values: Float64Array
    shown: Float64Array
    cells: Int64Array | None
    spread: float
    units: Int64Array
    has_patients: bool

    def only(self, chosen: BoolArray) -> _Quantity:
        """Return the tiles for which the (T,) bool `chosen` is true."""
        cells = None if self.cells is None else self.cells[chosen]
        return replace(
            self, values=self.values[chosen], shown=self.shown[chosen], cells=cells, units=self.units[chosen]
        )


def fit_reference_ranges(cells: ReferenceCells, basis: str) -> ReferenceRanges | None:
    """Compute the ranges and the region of reference tiles.

    Args:
        cells: the counted cells of the tiles.
        basis: which tiles they are, in words.

    Returns:
        None if all cells are of a single tile or patient, since one does not show how others differ.
    """
    n_tiles = int(cells.tile_index.max()) + 1
    units = np.arange(n_tiles) if cells.patients is None else np.unique(cells.patients, return_inverse=True)[1]
    if len(np.unique(units)) < 2:
        return None
    counts = np.zeros((n_tiles, cells.n_clusters), dtype=np.int64)
    np.add.at(counts, (cells.tile_index, cells.clusters), 1)
    has_patients = cells.patients is not None
    proportions = [_limits(_proportion(counts, k, units, has_patients)) for k in range(cells.n_clusters)]
    of_medians = [_median(cells, number, units) for number in range(len(cells.names))]
    medians = [_limits(quantity) for quantity in of_medians]
    share = np.full(n_tiles, np.nan) if cells.cellularity is None else cells.cellularity
    cellularity = _limits(_Quantity("share", share, share, None, 0.0, units, has_patients))
    within = [limits.left_out_within for limits in (*proportions, *medians, cellularity) if limits is not None]
    return ReferenceRanges(
        basis=basis,
        measurements=cells.names,
        tiles=tuple(
            ReferenceTile(
                counts=tuple(counts[t].tolist()),
                medians=tuple(_or_none(quantity.values[t]) for quantity in of_medians),
                cellularity=_or_none(share[t]),
                patient=int(units[t]) if has_patients else None,
            )
            for t in range(n_tiles)
        ),
        proportions=tuple(limits for limits in proportions if limits is not None),
        medians=tuple(medians),
        cellularity=cellularity,
        region=_region(counts, units, has_patients),
        left_out_within=_mean([share for share in within if share is not None]),
    )


def choose_scale(values: Float64Array, unit: str) -> Scale:
    """Return the scale of a measurement whose tiles have these medians, (T,) with NaN where a tile has none."""
    known = values[np.isfinite(values)]
    if unit == "count":
        return "count"
    if unit == "" and ((known >= 0) & (known <= 1)).all():
        return "share"
    # Of a density that is about 0 in some tiles, the logarithm would say more than was measured.
    return "log" if len(known) and known.min() > known.max() / MAX_RATIO > 0 else "plain"


def _proportion(counts: Int64Array, cluster: int, units: Int64Array, has_patients: bool) -> _Quantity:
    n, values = counts.sum(axis=1), smoothed(counts)[:, cluster]
    spread = float(np.sqrt(values.mean() * (1 - values.mean())))
    return _Quantity("proportion", values, counts[:, cluster] / n, n, spread, units, has_patients)


def _median(cells: ReferenceCells, number: int, units: Int64Array) -> _Quantity:
    measured = np.array([]) if cells.measurements is None else cells.measurements[:, number]
    of_tiles = [measured[(cells.tile_index == tile) & np.isfinite(measured)] for tile in range(len(units))]
    quartiles = np.array([np.quantile(v, [0.25, 0.5, 0.75]) if len(v) else np.full(3, np.nan) for v in of_tiles])
    medians = quartiles[:, 1]
    apart = (quartiles[:, 2] - quartiles[:, 0])[np.isfinite(medians)]
    spread = MEDIAN_SD * float(apart.mean()) / QUARTILES_SD if len(apart) else 0.0
    n = np.array([len(values) for values in of_tiles])
    scale = choose_scale(medians, cells.units[number])
    return _Quantity(scale, medians, medians, n, spread, units, cells.patients is not None)


def _limits(quantity: _Quantity) -> Limits | None:
    """Return the range of a quantity, or None where fewer than two units have it."""
    quantity = quantity.only(np.isfinite(quantity.values))
    units = np.unique(quantity.units)
    if len(units) < 2:
        return None
    limits = _range(quantity)
    low, high = _intervals(quantity, limits)
    inside: list[bool] = []
    for unit in units if len(units) > 2 else ():
        own = quantity.units == unit
        left_out, rest = quantity.only(own), _range(quantity.only(~own))
        n_cells = np.zeros(len(left_out.shown), int) if left_out.cells is None else left_out.cells
        for value, n in zip(left_out.shown.tolist(), n_cells.tolist(), strict=True):
            compared = compare(rest, value, n)
            inside.append(compared.low <= value <= compared.high)
    return limits.model_copy(update={"low_interval": low, "high_interval": high, "left_out_within": _mean(inside)})


def _range(quantity: _Quantity) -> Limits:
    """Return the range, in which the intervals of its limits and the share left out within are still to be measured.

    With fewer than 120 units the range is a prediction interval for one more tile (Student's t), and with more it is
    between percentiles.
    """
    y = on_scale(quantity.values, quantity.scale)
    spread = _Spread.of(y[:, None], quantity.units)
    centre, g = float(spread.mean[0]), spread.units
    cells = None if quantity.cells is None else float(1 / np.mean(1 / quantity.cells))
    cell_sd = quantity.spread * _slope(quantity.scale, centre)
    if g < MIN_SUBJECTS:
        # Tiles do not differ less than the sampling of their cells makes them differ, other than by chance.
        least = 0.0 if cells is None else cell_sd**2 / cells
        total, of_mean = max(float(spread.total[0, 0]), least), float(spread.of_means[0, 0]) / g
        half = float(stdtrit(g - 1, 1 - TAIL)) * (total + of_mean) ** 0.5
        low, high = centre - half, centre + half
    else:
        low, high = _percentiles(y, quantity.units, [TAIL * (g + 1), (1 - TAIL) * (g + 1)])
    return Limits(
        scale=quantity.scale,
        centre=centre,
        low=low,
        high=high,
        low_interval=(low, low),
        high_interval=(high, high),
        cells=cells,
        cell_sd=cell_sd,
        n_tiles=len(y),
        n_patients=g if quantity.has_patients else None,
        left_out_within=None,
    )


def _intervals(quantity: _Quantity, limits: Limits) -> tuple[Ends, Ends]:
    """Return the 90% intervals of the true 2.5% and 97.5% percentiles, on the scale.

    With fewer than 120 units they are those of a normal distribution (by noncentral t), and with more they lie between
    order statistics, as in CLSI EP28-A3c: the 1st and the 7th of 120.
    """
    y = on_scale(quantity.values, quantity.scale)
    spread = _Spread.of(y[:, None], quantity.units)
    g = spread.units
    if g < MIN_SUBJECTS:
        near, far = nctdtrit(g - 1, NORMAL_QUANTILE * g**0.5, [DOUBT, 1 - DOUBT]) * (spread.total[0, 0] / g) ** 0.5
        low = (min(limits.low, limits.centre - far), max(limits.low, limits.centre - near))
        high = (min(limits.high, limits.centre + near), max(limits.high, limits.centre + far))
        return low, high
    below = bdtr(np.arange(g + 1), g, TAIL)  # probability that at most so many units lie below the percentile
    first, last = int((below < DOUBT).sum()), int((below < 1 - DOUBT).sum()) + 1
    ends = _percentiles(y, quantity.units, [first, last, g + 1 - last, g + 1 - first])
    return (ends[0], ends[1]), (ends[2], ends[3])


def _percentiles(y: Float64Array, units: Int64Array, ranks: Sequence[float]) -> list[float]:
    """Return the values at these ranks among g units, 1 … g; the tiles of a unit share its weight of one rank."""
    order = np.argsort(y, kind="stable")
    weights = (1 / np.bincount(units)[units])[order]
    places = weights.cumsum() - weights / 2 + 0.5
    return [float(value) for value in np.interp(ranks, places, y[order])]


def _slope(scale: Scale, centre: float) -> float:
    """Return the derivative of a scale with respect to the quantity, where the scale has the value `centre`."""
    if scale == "plain":
        return 1.0
    return float(4 * np.cosh(centre / 2) ** 2 if scale in ("proportion", "share") else np.exp(-centre))


@dataclass(frozen=True)
class _Spread:
    """How much the tiles of g units differ.

    Attributes:
        mean: (p,) mean of the means of the units.
        means: (g, p) means of the units.
        of_means: (p, p) covariance of these means.
        total: (p, p) covariance of single tiles of further units: between units and within them.
    """

    mean: Float64Array
    means: Float64Array
    of_means: Float64Array
    total: Float64Array

    @property
    def units(self) -> int:
        """Number of units, g."""
        return len(self.means)

    @classmethod
    def of(cls, y: Float64Array, units: Int64Array) -> _Spread:
        """Measure it on (T, p) values of at least two units, by moments; `units` is (T,)."""
        _, of_tile, sizes = np.unique(units, return_inverse=True, return_counts=True)
        means = np.zeros((len(sizes), y.shape[1]))
        np.add.at(means, of_tile, y / sizes[of_tile, None])
        of_means = np.atleast_2d(np.cov(means, rowvar=False))
        rest = y - means[of_tile]
        within = rest.T @ rest / max(1, len(y) - len(sizes))
        # The means of units of few tiles differ by a part of what differs within the units: that part is in already.
        return cls(means.mean(axis=0), means, of_means, of_means + within * (1 - np.mean(1 / sizes)))


def _region(counts: Int64Array, units: Int64Array, has_patients: bool) -> Region | None:
    """Return the region of (T, K) compositions, or None if there are too few units or all tiles are alike."""
    if len(np.unique(units)) < MIN_TILES or (region := _region_of(counts, units, has_patients)) is None:
        return None
    inside: list[bool] = []
    for unit in np.unique(units):
        rest = _region_of(counts[units != unit], units[units != unit], has_patients)
        found = [locate(rest, composition) for composition in counts[units == unit]] if rest else []
        inside += [within.value for within in found if within is not None]
    return region.model_copy(update={"left_out_within": _mean(inside)})


def _region_of(counts: Int64Array, units: Int64Array, has_patients: bool) -> Region | None:
    """Return the region, in which the share left out within is still to be measured.

    With five units per log-ratio it is Hotelling's prediction region. With fewer, the covariance says too little about
    its short axes: it is shrunk towards a round one, for which no distribution of the distance is known, so that the
    threshold is the 95% quantile of simulated distances.
    """
    y = log_ratios(counts)
    spread, p = _Spread.of(y, units), y.shape[1]
    g, covariance, shrinkage = spread.units, spread.total, 0.0
    eigenvalues = np.linalg.eigvalsh(covariance)
    if not eigenvalues[-1] > 0:
        return None
    if g < UNITS_PER_RATIO * p or eigenvalues[0] * MAX_CONDITION < eigenvalues[-1]:
        shrinkage = float(_shrinkage(spread.means[None])[0])
        covariance = _shrunk(covariance[None], np.array([shrinkage]))[0]
        if np.linalg.eigvalsh(covariance)[0] * MAX_CONDITION < eigenvalues[-1]:
            return None
        squared = _simulated_threshold(np.linalg.eigvalsh(covariance), g)
    else:
        squared = p * (g + 1) * (g - 1) / (g * (g - p)) * float(fdtri(p, g - p, LEVEL))
    basis = log_ratio_basis(counts.shape[1])
    return Region(
        mean=tuple((spread.mean @ basis).tolist()),
        covariance=tuple(tuple(row) for row in (basis.T @ covariance @ basis).tolist()),
        shrinkage=shrinkage,
        threshold=squared**0.5,
        cells=float(1 / np.mean(1 / counts.sum(axis=1))),
        n_tiles=len(y),
        n_patients=g if has_patients else None,
        left_out_within=None,
    )


def _shrinkage(sets: Float64Array) -> Float64Array:
    """Return how much the covariance of each of R sets, (R, g, p), is to be shrunk, 0–1 (Ledoit and Wolf 2004)."""
    g, p = sets.shape[1:]
    rest = sets - sets.mean(axis=1, keepdims=True)
    covariance = np.swapaxes(rest, 1, 2) @ rest / g
    trace = np.trace(covariance, axis1=1, axis2=2)
    from_round = (covariance**2).sum(axis=(1, 2)) - trace**2 / p
    error = ((rest**2).sum(axis=2) ** 2).sum(axis=1) / g**2 - (covariance**2).sum(axis=(1, 2)) / g
    return np.asarray(np.clip(error / np.maximum(from_round, 1e-300), 0, 1))


def _shrunk(covariances: Float64Array, shrinkage: Float64Array) -> Float64Array:
    """Mix each of (R, p, p) covariances with a round one of the same trace, by its share in (R,)."""
    p = covariances.shape[1]
    share = shrinkage[:, None, None]
    round_ones = np.trace(covariances, axis1=1, axis2=2)[:, None, None] / p * np.eye(p)
    return np.asarray((1 - share) * covariances + share * round_ones)


def _simulated_threshold(variances: Float64Array, g: int) -> float:
    """Return the 95% quantile of the squared distance of one more tile from g tiles whose covariance is shrunk.

    Args:
        variances: (p,) variances along the axes of the covariance, from which the tiles are drawn; the shrinking
            treats all directions alike, so that the axes do not matter.
        g: number of tiles in a set.
    """
    random = np.random.default_rng(0)
    squared: list[float] = []
    for _ in range(DRAWS // CHUNK):
        sets = random.standard_normal((CHUNK, g + 1, len(variances))) * np.sqrt(variances)
        known, further = sets[:, :-1], sets[:, -1]
        rest = known - known.mean(axis=1, keepdims=True)
        covariances = _shrunk(np.swapaxes(rest, 1, 2) @ rest / (g - 1), _shrinkage(known))
        squared += (mahalanobis(known.mean(axis=1), covariances, further) ** 2).tolist()
    return float(np.quantile(squared, LEVEL))


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
