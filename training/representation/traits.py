"""What clusters part: how much of the spread of size, darkness, shape and chromatin the cluster explains."""

from __future__ import annotations

import numpy as np

from app.pipeline.crops import pictures
from app.pipeline.fit.describe import explained
from app.pipeline.types import Float64Array, Int64Array, UInt8Array

BACKGROUND = 250
"""A pixel whose channels are all at least this is outside the nucleus, where a crop is white."""
DARKEST = 1.0
"""The value that a pixel of 0 is taken to have, so that its optical density is finite."""


def explained_traits(crops: UInt8Array, clusters: Int64Array) -> dict[str, float]:
    """Return the share of the variance of each trait that lies between the clusters (η²).

    Args:
        crops: (N, 32, 32, C) uint8.
        clusters: (N,) int64, the cluster of each.

    Returns:
        `app.pipeline.manifest.Explained`.
    """
    return {name: explained(values, clusters) for name, values in measure_traits(crops).items()}


def measure_traits(crops: UInt8Array) -> dict[str, Float64Array]:
    """Measure the nucleus in each of (N, 32, 32, C) crops.

    Returns:
        (N,) each. area: px inside the crop. density: mean optical density, over pixels and channels. eccentricity: of
        the ellipse with the same second moments, 0 for a circle. contrast: of the chromatin, the mean difference of
        optical density between neighbouring pixels.
    """
    crops = pictures(crops)
    nucleus = np.asarray((crops < BACKGROUND).any(axis=3))
    density = -np.log(np.maximum(crops, DARKEST) / 255).mean(axis=3)
    area = nucleus.sum(axis=(1, 2)).astype(np.float64)
    within = np.maximum(area, 1)
    steps, pairs = np.zeros(len(crops)), np.zeros(len(crops))
    for axis in (1, 2):
        first, second = (np.take(nucleus, range(start, start + 31), axis) for start in (0, 1))
        both = first & second
        steps += (np.abs(np.diff(density, axis=axis)) * both).sum(axis=(1, 2))
        pairs += both.sum(axis=(1, 2))
    return {
        "area": area,
        "density": (density * nucleus).sum(axis=(1, 2)) / within,
        "eccentricity": _eccentricity(nucleus, within),
        "contrast": steps / np.maximum(pairs, 1),
    }


def _eccentricity(nucleus: np.ndarray, area: Float64Array) -> Float64Array:
    """Return the eccentricity of (N, H, W) bool nuclei with (N,) pixels."""
    rows, columns = np.indices(nucleus.shape[1:])
    y, x = ((nucleus * places).sum(axis=(1, 2)) / area for places in (rows, columns))
    dy, dx = rows - y[:, None, None], columns - x[:, None, None]
    yy, xx, xy = ((nucleus * product).sum(axis=(1, 2)) / area for product in (dy * dy, dx * dx, dx * dy))
    spread = np.hypot((yy - xx) / 2, xy)
    major = (yy + xx) / 2 + spread
    minor = (yy + xx) / 2 - spread
    return np.asarray(np.sqrt(1 - np.divide(minor, major, out=np.ones_like(major), where=major > 0).clip(0, 1)))
