"""Optical density: of samples and of haematoxylin, and what is dark enough to be tissue.

It is kept on HistomicsTK's scale, `od = 255 · (1 − ln(I + 1) / ln 256)`, so that the paper's "magnitude below 16" means
the same here.
"""

from __future__ import annotations

import cv2
import numpy as np

from app.pipeline.stain.strips import strips
from app.pipeline.types import BoolArray, Float32Array, Float64Array, UInt8Array

BLACK = 8
"""Grey level of the brightest channel up to which a pixel is black, as a frame is after JPEG. Nuclei are lighter."""

NUCLEAR_DENSITY_SIGMA = 2.0
"""px; blurs chromatin, so that the two parts are nuclei and the rest."""

OD_TABLE = 255.0 * (1.0 - np.log(np.arange(256) + 1.0) / np.log(256.0))
"""Of the 256 values of a sample: no `uint8 + 1` that wraps to 0."""
OD_TABLE_RGB = np.repeat(OD_TABLE.astype(np.float32)[None, :, None], 3, axis=2)
_SQUARED_OD_TABLE = np.square(OD_TABLE_RGB)
SUM = np.ones((1, 3), np.float32)
"""Adds channels up, as a matrix."""


def optical_density(pixels: UInt8Array) -> Float64Array:
    """Optical density of each sample, 0 (white) to 255 (black).

    Args:
        pixels: uint8 of any shape.

    Returns:
        float64 of the same shape.
    """
    return np.asarray(OD_TABLE[pixels])


def is_seen(pixels: UInt8Array) -> BoolArray:
    """Where the microscope saw something: not black, as scanners and screenshots leave what they did not see.

    Such pixels have no finite lαβ, and a few of them would decide the statistics of the whole tile.

    Args:
        pixels: (H, W, 3) uint8 RGB.

    Returns:
        (H, W) bool.
    """
    seen = cv2.inRange(pixels, (0, 0, 0), (BLACK, BLACK, BLACK)) == 0
    return np.asarray(seen)


def is_tissue(pixels: UInt8Array, min_magnitude: float) -> BoolArray:
    """Where there is tissue: seen, and darker than background.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        min_magnitude: optical-density length, 0-255 scale, up to which a pixel is background.

    Returns:
        (H, W) bool.
    """
    dark = np.empty(pixels.shape[:2], bool)
    for rows in strips(pixels.shape):
        squared = cv2.transform(cv2.LUT(pixels[rows], _SQUARED_OD_TABLE), SUM)
        np.greater(squared, min_magnitude**2, out=dark[rows])
        dark[rows] &= is_seen(pixels[rows])
    return dark


def density_image(haematoxylin: UInt8Array, sigma: float) -> Float32Array:
    """Smoothed haematoxylin density. Beyond the border there is none, as on glass.

    Args:
        haematoxylin: (H, W) uint8 intensity, dark = stained.
        sigma: of the Gaussian, px.

    Returns:
        (H, W) float32, 0–255.
    """
    density = cv2.LUT(haematoxylin, OD_TABLE.astype(np.float32))
    return np.asarray(cv2.GaussianBlur(density, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT))


def nuclear_density(haematoxylin: UInt8Array, tissue: BoolArray) -> float:
    """Haematoxylin density that best parts a tile's tissue in two (Otsu 1979).

    Args:
        haematoxylin: (H, W) uint8 intensity, dark = stained.
        tissue: (H, W) bool, what counts.

    Returns:
        0–255; 0 where there is no tissue.
    """
    return parting(density_image(haematoxylin, NUCLEAR_DENSITY_SIGMA)[tissue])


def parting(density: Float32Array) -> float:
    """What best parts densities in two (Otsu 1979).

    Args:
        density: (N,) float32, 0–255.

    Returns:
        0–255; 0 where there are none.
    """
    if density.size == 0:
        return 0.0
    # Over the whole of 16 bits: steps of a whole density would show in the scores.
    found, _ = cv2.threshold(np.rint(density * 257).astype(np.uint16), 0, 65535, cv2.THRESH_OTSU)
    return float(found) / 257
