"""Optical densities of the two stains, and how they are distributed in a nucleus or its cytoplasm.

The density of a stain is its part of the pixel's optical density −log₁₀((I + 1) / 256), by least squares along the two
stain vectors (Ruifrok and Johnston 2001). It is that of the normalised tile, so that tiles of different strength can be
compared; 0 is white, and a stain of which a pixel has less than none is negative.

Densities are kept as whole levels of a thousandth, which add up exactly and faster.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from app.pipeline.measure.stretches import Stretches
from app.pipeline.stain.optical_density import row_blocks
from app.pipeline.types import Float64Array, UInt8Array

Levels = NDArray[np.int16]

OD10_TABLE = (-np.log10((np.arange(256) + 1.0) / 256)).astype(np.float32)[None]
"""(1, 256) float32, the optical density of each value of a sample, base 10."""
STEP_OD = 1e-3
"""The optical density of a level."""
LOWEST_OD, HIGHEST_LEVEL = -2.0, (1 << 13) - 1
"""Level 0 holds this density and all that are lower; the last level holds a density of 6.19."""
N_STATISTICS = 7
QUARTILES = np.array([0.25, 0.5, 0.75])
QUARTILE_LEVELS = 4
"""Quartiles are found among densities that are rounded to so many levels."""
OWNERS_AT_ONCE = 128
"""Owners whose histograms are made at once: they stay in a core's cache, and need no more memory for more owners."""


def density_levels(normalised: UInt8Array, stain_matrix: Float64Array) -> tuple[Levels, Levels]:
    """Return the levels of haematoxylin and of eosin.

    Args:
        normalised: (H, W, 3) uint8 RGB.
        stain_matrix: (3, 2) float64 unit columns haematoxylin, eosin.

    Returns:
        Two (H, W) int16; the density is LOWEST_OD + STEP_OD · level.
    """
    to_levels = np.column_stack([np.linalg.pinv(stain_matrix) / STEP_OD, [-LOWEST_OD / STEP_OD] * 2])
    haematoxylin, eosin = (np.empty(normalised.shape[:2], np.int16) for _ in range(2))
    for rows in row_blocks(normalised.shape):
        density = cv2.LUT(normalised[rows], OD10_TABLE)
        for levels, row in ((haematoxylin, to_levels[:1]), (eosin, to_levels[1:])):
            found = cv2.transform(density, row)
            levels[rows] = np.rint(found.clip(0, HIGHEST_LEVEL, out=found), out=found)
    return haematoxylin, eosin


def to_od(level: Float64Array) -> Float64Array:
    """Return the density of a level, or of a mean of levels."""
    return level * STEP_OD + LOWEST_OD


def distribution(levels: Levels, stretches: Stretches) -> Float64Array:
    """Return mean, standard deviation, smallest and largest density, and the three quartiles of every owner.

    Args:
        levels: (P,) int16 levels of density, one owner after the other.
        stretches: which of them belong to whom.

    Returns:
        (N, 7) float64; a quartile is that of densities rounded to QUARTILE_LEVELS levels.
    """
    if not len(stretches):
        return np.zeros((0, N_STATISTICS))
    means = stretches.means(levels)
    variances = stretches.means(levels.astype(np.int32) ** 2) - means**2
    quartiles = np.empty((len(stretches), 3))
    for first in range(0, len(stretches), OWNERS_AT_ONCE):
        block = slice(first, first + OWNERS_AT_ONCE)
        begin, counts = stretches.first[first], stretches.counts[block]
        quartiles[block] = _quartiles(levels[begin : begin + counts.sum()], Stretches.of_counts(counts))
    found = to_od(np.column_stack([means, means, stretches.smallest(levels), stretches.largest(levels), quartiles]))
    found[:, 1] = np.sqrt(variances.clip(0)) * STEP_OD
    return found


def _quartiles(levels: Levels, stretches: Stretches) -> Float64Array:
    """Return (N, 3) the quartiles in levels, from one histogram for each owner; to sort them takes five times as long.

    A quartile is interpolated between the two nearest values.
    """
    n, n_bins = len(stretches), (HIGHEST_LEVEL + 1) // QUARTILE_LEVELS
    bins = stretches.owners() * n_bins + levels // QUARTILE_LEVELS
    up_to = np.cumsum(np.bincount(bins, minlength=n * n_bins))
    at = QUARTILES * (stretches.counts[:, None] - 1)
    below = np.floor(at)
    # The values of all owners lie in one order, owner by owner.
    ranks = stretches.first[:, None] + np.stack([below, np.minimum(below + 1, stretches.counts[:, None] - 1)])
    low, high = np.searchsorted(up_to, ranks, side="right") - np.arange(n)[:, None] * n_bins
    return np.asarray((low + (at - below) * (high - low) + 0.5) * QUARTILE_LEVELS - 0.5)
