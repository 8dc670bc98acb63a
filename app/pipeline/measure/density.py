"""Optical densities of the two stains, and how they are distributed in a nucleus or its cytoplasm.

The density of a stain is its part of the pixel's optical density −log₁₀((I + 1) / 256), by least squares along the two
stain vectors (Ruifrok and Johnston 2001). It is that of the normalised tile, so that tiles of different strength can be
compared; 0 is white, and a stain of which a pixel has less than none is negative.

Densities are kept as whole levels of a thousandth, which sort and add up faster, and exactly.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from app.pipeline.measure.stretches import Stretches
from app.pipeline.stain.optical_density import row_blocks
from app.pipeline.types import Float64Array, Int32Array, UInt8Array

Levels = NDArray[np.int16]

OD10_TABLE = (-np.log10((np.arange(256) + 1.0) / 256)).astype(np.float32)[None]
"""(1, 256) float32, the optical density of each value of a sample, base 10."""
STEP_OD = 1e-3
"""The optical density of a level."""
LOWEST_OD, LEVEL_BITS = -2.0, 13
"""Level 0 holds this density and all that are lower; the last level is 2¹³ − 1, a density of 6.19."""
HIGHEST_LEVEL = (1 << LEVEL_BITS) - 1
N_STATISTICS = 7


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


def distribution(levels: Levels, owners: Int32Array, counts: np.ndarray) -> Float64Array:
    """Return mean, standard deviation, smallest and largest density, and the three quartiles of every owner.

    Args:
        levels: (P,) int16 levels of density.
        owners: (P,) int32 owner of each, 0…N − 1, in any order.
        counts: (N,) int64, how many each owner has, one at least.

    Returns:
        (N, 7) float64; quartiles are interpolated between the two nearest values.
    """
    if not len(counts):
        return np.zeros((0, N_STATISTICS))
    stretches = Stretches.of_counts(counts)
    # As one number, owner and level are sorted at once. Only 262,144 owners need 64 bits.
    wide: np.ndarray = owners.astype(np.int32 if len(counts) < 1 << (31 - LEVEL_BITS) else np.int64)
    keys = (wide << LEVEL_BITS) | levels
    keys.sort()
    rising = keys & HIGHEST_LEVEL
    means = stretches.means(rising)
    variances = stretches.means(rising.astype(np.int64) ** 2) - means**2
    last = stretches.first + counts - 1
    quartiles = [_quantile(rising, stretches, share) for share in (0.25, 0.5, 0.75)]
    found = to_od(np.column_stack([means, means, rising[stretches.first], rising[last], *quartiles]))
    found[:, 1] = np.sqrt(variances.clip(0)) * STEP_OD
    return found


def _quantile(levels: np.ndarray, stretches: Stretches, share: float) -> Float64Array:
    at = share * (stretches.counts - 1)
    below = np.floor(at).astype(np.int64)
    above = np.minimum(below + 1, stretches.counts - 1)
    low, high = levels[stretches.first + below], levels[stretches.first + above]
    return np.asarray(low + (at - below) * (high - low))
