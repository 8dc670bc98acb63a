"""Macenko's two stain vectors, and the haematoxylin that they unmix (paper §III-B1, §IV-B)."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from app.pipeline.stain.optical_density import OD_TABLE, OD_TABLE_GREY, SUM_CHANNELS, row_blocks
from app.pipeline.types import Float32Array, Float64Array, UInt8Array

REFERENCE_HAEMATOXYLIN = np.array([0.650, 0.704, 0.286])
"""Ruifrok and Johnston's haematoxylin; used only to decide which of the two estimated vectors is haematoxylin."""
REFERENCE_EOSIN = np.array([0.072, 0.990, 0.105])

MIN_STAINED_PIXELS = 100
"""Pixels that must exceed the magnitude for percentiles at 1% and 99% to mean anything."""
MIN_ANGLE = 1e-3
"""Radians between two stains below which their matrix cannot be inverted."""
SPREAD_PIXELS = 100_000
"""About how many pixels of a large tile the angle between its stains is measured on."""


def macenko(pixels: UInt8Array, *, min_magnitude: float, angle_percentiles: tuple[float, float]) -> Float64Array | None:
    """Estimate the two stain vectors (Macenko et al. 2009).

    Args:
        pixels: (N, 3) uint8 RGB, those that the estimate is made of.
        min_magnitude: optical density in the principal plane below which a pixel is background, 0–255 scale.
        angle_percentiles: low and high percentile of the angle distribution, 0–100.

    Returns:
        (3, 2) float64, unit columns haematoxylin then eosin; None when the pixels have no plane (blank, black).
    """
    found = _plane_and_angles(pixels, min_magnitude, angle_percentiles)
    if found is None:
        return None
    plane, low, high = found
    return haematoxylin_first(plane @ np.array([[np.cos(low), np.cos(high)], [np.sin(low), np.sin(high)]]))


def stain_spread_deg(pixels: UInt8Array, *, min_magnitude: float, angle_percentiles: tuple[float, float]) -> float:
    """Return the angle between two stains in their principal plane, in degrees; 0 where there is no plane.

    Measure it on the tile before normalisation: Reinhard stretches every channel to its target, and makes a second
    stain out of the rounding of a single one.

    Args:
        pixels: (N, 3) uint8 RGB, those that the angle is measured on.
        min_magnitude: see `macenko`.
        angle_percentiles: see `macenko`.
    """
    step = max(1, len(pixels) // SPREAD_PIXELS)
    found = _plane_and_angles(pixels[::step], min_magnitude, angle_percentiles)
    return 0.0 if found is None else float(np.rad2deg(found[2] - found[1]))


def _plane_and_angles(
    pixels: UInt8Array, min_magnitude: float, angle_percentiles: tuple[float, float]
) -> tuple[Float64Array, float, float] | None:
    """Return the (3, 2) principal plane of optical density, and the low and high angle in it, in radians."""
    squares = np.zeros((3, 3))
    for od in _od_planes(pixels):
        exact = [channel.astype(np.float64) for channel in od]
        for i in range(3):
            for j in range(i + 1):
                # einsum, unlike a product by BLAS, gives the same sum on any number of threads.
                squares[i, j] += np.einsum("n,n", exact[i], exact[j])
    # The left singular vectors of the 3 × N matrix are the eigenvectors of the 3 × 3 matrix odᵀ·od, of which eigh reads
    # the lower triangle.
    values, vectors = np.linalg.eigh(squares)
    if values[1] <= 1e-9 * max(values[2], 1.0):
        return None
    plane = vectors[:, [2, 1]]
    # eigh leaves the sign free; tissue darkens, so the first axis points to positive density.
    plane[:, 0] *= np.sign(plane[:, 0].sum()) or 1.0
    blocks = []
    for od in _od_planes(pixels):
        x, y = (axis[0] * od[0] + axis[1] * od[1] + axis[2] * od[2] for axis in plane.T.astype(np.float32))
        blocks.append(np.arctan2(y, x)[x * x + y * y > min_magnitude**2])
    angles = np.concatenate(blocks)
    if len(angles) < MIN_STAINED_PIXELS:
        return None
    low, high = np.percentile(angles, angle_percentiles, method="nearest")
    if high - low < MIN_ANGLE:
        return None
    return plane, float(low), float(high)


def _od_planes(pixels: UInt8Array) -> Iterator[list[Float32Array]]:
    """Yield the optical densities of the three channels of (N, 3) uint8 RGB, some thousands of pixels at a time."""
    row = np.ascontiguousarray(pixels)[None]
    for columns in row_blocks((pixels.shape[0], 1)):
        yield [cv2.LUT(channel, OD_TABLE_GREY)[0] for channel in cv2.split(row[:, columns])]


def haematoxylin_first(vectors: Float64Array) -> Float64Array:
    """Order two stain vectors by colour, since their order along the angle is arbitrary.

    Args:
        vectors: (3, 2) float64, unit columns.

    Returns:
        (3, 2) float64; the first column is the one that is nearer to Ruifrok's haematoxylin than to his eosin.
    """
    lean = vectors.T @ REFERENCE_HAEMATOXYLIN - vectors.T @ REFERENCE_EOSIN
    return vectors[:, ::-1] if lean[1] > lean[0] else vectors


def haematoxylin_image(pixels: UInt8Array, stain_matrix: Float64Array) -> UInt8Array:
    """Unmix a tile and render its haematoxylin as intensity.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        stain_matrix: (3, 2) haematoxylin and eosin; the third stain is their cross product.

    Returns:
        (H, W) uint8, 255 = none, dark = stained.
    """
    residual = np.cross(stain_matrix[:, 0], stain_matrix[:, 1])
    complete = np.column_stack([stain_matrix, residual / np.linalg.norm(residual)])
    # Each sample adds to the exponent of the intensity I + 1 = exp(exponent) · 256, so a table of samples is enough.
    exponents = -np.log(256.0) / 255.0 * OD_TABLE[:, None] * np.linalg.inv(complete)[0]
    table = exponents.astype(np.float32)[None]
    intensity = np.empty(pixels.shape[:2], np.uint8)
    for rows in row_blocks(pixels.shape):
        exponent = cv2.transform(cv2.LUT(pixels[rows], table), SUM_CHANNELS)
        intensity[rows] = np.clip(np.float32(256) * cv2.exp(exponent) - np.float32(1), 0, 255)
    return intensity
