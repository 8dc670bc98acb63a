"""Optical densities of the two stains, and how they are distributed in a nucleus or its cytoplasm.

The density of a stain is its part of the pixel's optical density −log₁₀((I + 1) / 256), by least squares along the two
stain vectors (Ruifrok and Johnston 2001). It is that of the normalised tile, so that tiles of different strength can be
compared; 0 is white, and a stain that the pixel has less than none of is negative.
"""

from __future__ import annotations

import cv2
import numpy as np

from app.pipeline.measure.pixels import Stretches
from app.pipeline.stain.optical_density import row_blocks
from app.pipeline.types import Float32Array, Float64Array, UInt8Array

OD10_TABLE = (-np.log10((np.arange(256) + 1.0) / 256)).astype(np.float32)[None]
"""(1, 256) float32, the optical density of each value of a sample, base 10."""
STEP_OD = 1e-3
"""Densities are sorted in steps of this."""
LOWEST_OD = -2.0
"""The lowest density that is told from lower ones."""
LEVEL_BITS = 13
HIGHEST_LEVEL = (1 << LEVEL_BITS) - 1
N_STATISTICS = 7


def stain_densities(normalised: UInt8Array, stain_matrix: Float64Array) -> tuple[Float32Array, Float32Array]:
    """Return the optical densities of haematoxylin and of eosin.

    Args:
        normalised: (H, W, 3) uint8 RGB.
        stain_matrix: (3, 2) float64 unit columns haematoxylin, eosin.

    Returns:
        Two (H, W) float32.
    """
    unmixing = np.linalg.pinv(stain_matrix).astype(np.float32)
    haematoxylin, eosin = (np.empty(normalised.shape[:2], np.float32) for _ in range(2))
    for rows in row_blocks(normalised.shape):
        density = cv2.LUT(normalised[rows], OD10_TABLE)
        haematoxylin[rows] = cv2.transform(density, unmixing[:1])
        eosin[rows] = cv2.transform(density, unmixing[1:])
    return haematoxylin, eosin


def distribution(densities: Float32Array, stretches: Stretches) -> Float64Array:
    """Return mean, standard deviation, smallest and largest density, and the three quartiles of every owner.

    Args:
        densities: (P,) float32, one owner after the other.
        stretches: which of them belong to whom.

    Returns:
        (N, 7) float64, to a thousandth; quartiles are interpolated between the two nearest values.
    """
    if not len(stretches):
        return np.zeros((0, N_STATISTICS))
    levels = np.rint((densities - LOWEST_OD) / STEP_OD).clip(0, HIGHEST_LEVEL).astype(np.int64)
    # Sorted as one number, the owners stay in their order and each one's densities rise.
    keys = (stretches.owners << LEVEL_BITS) | levels
    keys.sort()
    levels = keys & HIGHEST_LEVEL
    means = stretches.sums(levels) / stretches.counts
    variances = stretches.sums(levels**2) / stretches.counts - means**2
    last = stretches.first + stretches.counts - 1
    quartiles = [_quantile(levels, stretches, share) for share in (0.25, 0.5, 0.75)]
    sds = np.sqrt(variances.clip(0))
    found = np.column_stack([means, sds, levels[stretches.first], levels[last], *quartiles]) * STEP_OD
    return np.asarray(found + LOWEST_OD * (np.arange(N_STATISTICS) != 1))


def _quantile(levels: np.ndarray, stretches: Stretches, share: float) -> Float64Array:
    at = share * (stretches.counts - 1)
    below = np.floor(at).astype(np.int64)
    above = np.minimum(below + 1, stretches.counts - 1)
    low, high = levels[stretches.first + below], levels[stretches.first + above]
    return np.asarray(low + (at - below) * (high - low))
