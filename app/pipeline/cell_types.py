"""Features → the type of every cell, by the bundle's cell classifier; and the shares of the types in a tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from app.pipeline.cell_classifier import CellClassifier, CellType
from app.pipeline.measure.table import INDEX
from app.pipeline.types import BoolArray, Float32Array, Float64Array, Int64Array

Features = Float32Array | NDArray[np.float16]

NO_TYPE = -1
N_NEIGHBOURS = 4
"""The features of this many nearest cells are averaged."""
CONFIDENCE = 0.95
"""Confidence of the interval of each type's share, taken for itself."""
BLOCK = 2**14
"""So many cells are classified at a time, which bounds the memory for a slide of millions."""
N_DRAWS, SEED = 2000, 0
DECIMALS = 6
"""Ends of intervals are rounded to this."""
MOST_DEVIATIONS = 1e6
"""No number of a cell counts for more standard deviations than this; a network may give an infinite one."""


@dataclass(frozen=True, slots=True)
class CellTypes:
    """The types of N cells, of T that the classifier knows.

    Attributes:
        probabilities: (N, T) float64, rows sum to 1.
        types: (N,) int64, the most probable type of every cell, outliers included; NO_TYPE where none is probable
            enough.
        corrected: (N,) bool, the cells whose type a person has given; its probability is 1. None if there are none.
    """

    probabilities: Float64Array
    types: Int64Array
    corrected: BoolArray | None = None


@dataclass(frozen=True, slots=True)
class TypeShares:
    """How the counted cells of a tile fall into T types.

    Attributes:
        counts: (T,) int64, number of counted cells of each type.
        n_without_type: number of counted cells without a type.
        proportions: (T,) float64, each count over the sum of the counts; None where no counted cell has a type.
        intervals: (T, 2) float64, see `summarise_types`; None where no counted cell has a type.
    """

    counts: Int64Array
    n_without_type: int
    proportions: Float64Array | None
    intervals: Float64Array | None


def unknown_measurements(classifier: CellClassifier) -> list[str]:
    """Return the measurements that a classifier uses and this version of the code does not make."""
    return [name for name in classifier.measurements if name not in INDEX]


def classify(
    features: Features, measured: Float64Array, centroids: Float64Array, classifier: CellClassifier
) -> CellTypes:
    """Give every cell of a tile or slide its type.

    Args:
        features: (N, F) float32, or float16 as tables have them, what the encoder sees of each cell.
        measured: (N, M) float64, the measurements that the classifier uses, in its order and in µm. One that is
            missing (NaN) counts as the mean of the named cells.
        centroids: (N, 2) x, y in any unit; they decide which cells are neighbours.
        classifier: the bundle's.
    """
    near = _nearest(centroids) if classifier.neighbours else None
    blocks = [slice(i, i + BLOCK) for i in range(0, len(features), BLOCK)]
    found = [_probabilities(_numbers(features, measured, near, block), classifier) for block in blocks]
    probabilities = np.concatenate([np.zeros((0, len(classifier.types))), *found])
    is_sure = probabilities.max(axis=1) >= classifier.threshold
    return CellTypes(probabilities, np.where(is_sure, probabilities.argmax(axis=1), NO_TYPE).astype(np.int64))


def type_probabilities(
    features: Features, measured: Float64Array, neighbour_features: Features | Float64Array, classifier: CellClassifier
) -> Float64Array:
    """Return (N, T) float64, the probabilities that `classify` gives to cells whose neighbours are not at hand.

    Args:
        features: (N, F).
        measured: (N, M) float64, as in `classify`.
        neighbour_features: (N, F); see `neighbour_means`.
        classifier: the bundle's, or one that was taught on its features.
    """
    near = [neighbour_features] if classifier.neighbours else []
    blocks = [slice(i, i + BLOCK) for i in range(0, len(features), BLOCK)]
    known = (np.hstack([part[block] for part in (features, *near, measured)]) for block in blocks)
    found = [_probabilities(numbers.astype(np.float64), classifier) for numbers in known]
    return np.concatenate([np.zeros((0, len(classifier.types))), *found])


def neighbour_means(features: Features, centroids: Float64Array) -> Float64Array:
    """Return (N, F) float64, the mean features of the N_NEIGHBOURS cells nearest to each cell, itself left out.

    Where there are fewer other cells, it is the mean of these; the means of a single cell are NaN, for missing.

    Args:
        features: (N, F) float32.
        centroids: (N, 2) x, y in any unit.
    """
    return _means(features, _nearest(centroids))


def _nearest(centroids: Float64Array) -> Int64Array:
    """Return (N, k) int64, the cells nearest to each of N cells, without itself; k is N_NEIGHBOURS or else N − 1."""
    n = len(centroids)
    k = min(N_NEIGHBOURS, n - 1)
    if k < 1:
        return np.zeros((n, 0), np.int64)
    near = cKDTree(centroids).query(centroids, k + 1)[1]
    is_self = near == np.arange(n)[:, None]
    # Where more cells than these share a place, a cell may not be among its own nearest; the last one goes instead.
    is_self[~is_self.any(axis=1), -1] = True
    return np.asarray(near[~is_self].reshape(n, k), np.int64)


def _means(features: Features, near: Int64Array) -> Float64Array:
    if near.shape[1] == 0:
        return np.full((len(near), features.shape[1]), np.nan)
    return np.asarray(features[near].mean(axis=1, dtype=np.float64))


def _numbers(features: Features, measured: Float64Array, near: Int64Array | None, rows: slice) -> Float64Array:
    """Return (n, D) what is known of some of the cells; see `CellClassifier`."""
    parts = (
        [features[rows], measured[rows]]
        if near is None
        else [features[rows], _means(features, near[rows]), measured[rows]]
    )
    return np.hstack(parts).astype(np.float64)


def _probabilities(numbers: Float64Array, classifier: CellClassifier) -> Float64Array:
    standardised = (numbers - np.array(classifier.mean)) / np.array(classifier.deviation)
    standardised = np.nan_to_num(standardised, nan=0.0).clip(-MOST_DEVIATIONS, MOST_DEVIATIONS)
    logits = (standardised @ np.array(classifier.weights).T + np.array(classifier.bias)) / classifier.temperature
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def summarise_types(
    found: CellTypes, counted: BoolArray, classifier: CellClassifier, confidence: float = CONFIDENCE
) -> TypeShares:
    """Count the cells of each type, and say between what limits the true share of the type lies.

    A proportion is the count of a type over all counted cells that have a type. Its interval is one of the share that
    people would find if they named every counted cell, those without a type too. The classifier's validation says,
    for cells to which it gave a type, and for those to which it gave none, what types people had given them. The
    shares of these types are drawn from their posterior (Dirichlet, with a prior of one cell in all for each column
    of the confusion), and the counts of the tile from a multinomial distribution, N_DRAWS times with a fixed seed.
    The interval lies between two quantiles of the products, and is widened where it would not hold the proportion.
    Of a cell whose type a person has given, only the sampling is in doubt: people say that it is of this type.

    It relies on one assumption that a tile can break: among its cells of one given type, the types that people would
    give have the same shares as among the named cells. Where a type is far rarer in the tile than it was among those,
    the interval lies too high.

    Args:
        found: the types of N cells.
        counted: (N,) bool, which cells are no outliers.
        classifier: the bundle's, which gave the types.
        confidence: of the interval of each type, taken for itself.
    """
    n_types = len(classifier.types)
    types = np.where(found.types == NO_TYPE, n_types, found.types)
    counts = np.bincount(types[counted], minlength=n_types + 1).astype(np.int64)
    n_typed = int(counts[:-1].sum())
    if n_typed == 0:
        return TypeShares(counts[:-1], int(counts[-1]), None, None)
    proportions = counts[:-1] / n_typed
    beyond = (1 - confidence) / 2
    given = None
    if found.corrected is not None:
        given = np.bincount(types[counted & found.corrected], minlength=n_types + 1)[:-1].astype(np.int64)
    low, high = np.quantile(_drawn_shares(counts, given, classifier), [beyond, 1 - beyond], axis=0).round(DECIMALS)
    intervals = np.stack([np.minimum(low, proportions), np.maximum(high, proportions)], axis=1).clip(0, 1)
    return TypeShares(counts[:-1], int(counts[-1]), proportions, intervals)


def _drawn_shares(counts: Int64Array, given: Int64Array | None, classifier: CellClassifier) -> Float64Array:
    """Return (N_DRAWS, T) float64, draws of the types' true shares.

    They are drawn in the order of the types' names, so that the order in the manifest does not change them.

    Args:
        counts: (T + 1,) int64, the cells of each type, and of none.
        given: (T,) int64, those of them whose type a person has given; None if there are none.
        classifier: it gave all others these types.
    """
    order = np.argsort([one.name for one in classifier.types])
    columns, n = [*order, len(order)], counts.sum()
    confusion = np.array(classifier.validation.confusion)[order][:, columns]
    people_say = _drawn_errors(tuple(map(tuple, confusion.tolist())))
    kinds = counts[columns]
    if given is not None:  # Further kinds of cells, after those by the types that the classifier gave.
        kinds = np.concatenate([kinds - [*given[order], 0], given[order]])
    sampled = np.random.default_rng(SEED).multinomial(n, kinds / n, N_DRAWS)
    drawn = np.einsum("dj,djt->dt", sampled[:, : len(columns)], people_say)
    if given is not None:
        drawn += sampled[:, len(columns) :]
    shares = np.empty((N_DRAWS, len(order)))
    shares[:, order] = drawn / n
    return shares


@lru_cache(maxsize=4)
def _drawn_errors(confusion: tuple[tuple[int, ...], ...]) -> Float64Array:
    """Return (N_DRAWS, T + 1, T) float64: draws of what types people give cells of each given type, and of none.

    They are drawn once for a classifier, because a slide with many regions needs them for each.

    Args:
        confusion: T rows of T + 1 numbers, as in `ClassifierValidation`.
    """
    counted = np.array(confusion, np.float64).T
    drawn = np.random.default_rng(SEED + 1).standard_gamma(counted + 1 / len(confusion), (N_DRAWS, *counted.shape))
    # All numbers of a row can be too small for a float where the prior is; each type is then as likely.
    drawn += np.finfo(np.float64).tiny
    return np.asarray(drawn / drawn.sum(axis=2, keepdims=True))


def myeloid_erythroid(counts: Int64Array, types: Sequence[CellType]) -> float | None:
    """Return the ratio of myeloid to erythroid cells; None without erythroid cells, or if not both lineages are marked.

    Args:
        counts: (T,) int64.
        types: the T types.
    """
    lineages = [one.lineage for one in types]
    if "myeloid" not in lineages:
        return None
    of = {
        lineage: int(sum(count for count, marked in zip(counts, lineages, strict=True) if marked == lineage))
        for lineage in ("myeloid", "erythroid")
    }
    return of["myeloid"] / of["erythroid"] if of["erythroid"] else None
