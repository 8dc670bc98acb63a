"""Optical density: of samples and of haematoxylin, and which pixels are dark enough to be tissue.

It is on HistomicsTK's scale, `od = 255 · (1 − ln(I + 1) / ln 256)`, so that the paper's "magnitude below 16" has the
same meaning here.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from app.pipeline.types import BoolArray, Float32Array, Float64Array, UInt8Array

BLACK = 8
"""Grey level of the brightest channel up to which a pixel is black, as a frame is after JPEG. Nuclei are lighter."""

NUCLEAR_DENSITY_SIGMA = 2.0
"""Sigma in px of the Gaussian that blurs chromatin, so that the two classes of density are nuclei and the rest."""

OD_TABLE = 255.0 * (1.0 - np.log(np.arange(256) + 1.0) / np.log(256.0))
"""(256,) float64, the optical density of each value of a sample. A table avoids `uint8 + 1`, which wraps to 0."""
OD_TABLE_GREY = OD_TABLE.astype(np.float32)[None]
_SQUARED_OD_TABLE = np.square(np.repeat(OD_TABLE_GREY[..., None], 3, axis=2))
SUM_CHANNELS = np.ones((1, 3), np.float32)
"""Matrix that adds up the channels of a pixel."""
BLOCK_PIXELS = 1 << 16
"""Pixels of a block of rows: in three float32 channels, about what a core's cache holds."""


def row_blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield the rows of an image of this shape, (H, W, …), a few at a time, from top to bottom.

    Several steps over one block run faster than one step after the other over the image, since the block stays in the
    core's cache.
    """
    rows = max(1, BLOCK_PIXELS // max(1, shape[1]))
    for start in range(0, shape[0], rows):
        yield slice(start, start + rows)


def optical_density(pixels: UInt8Array) -> Float64Array:
    """Return the optical density of each sample, 0 (white) to 255 (black).

    Args:
        pixels: uint8 of any shape.

    Returns:
        float64 of the same shape.
    """
    return np.asarray(OD_TABLE[pixels])


def is_seen(pixels: UInt8Array) -> BoolArray:
    """Return which pixels the microscope recorded: all but black ones, with which scanners fill what they left out.

    Black pixels have no finite lαβ, and a few of them would decide the statistics of the whole tile.

    Args:
        pixels: (H, W, 3) uint8 RGB.

    Returns:
        (H, W) bool.
    """
    seen = cv2.inRange(pixels, (0, 0, 0), (BLACK, BLACK, BLACK)) == 0
    return np.asarray(seen)


def is_tissue(pixels: UInt8Array, min_magnitude: float) -> BoolArray:
    """Return which pixels are tissue: recorded by the microscope, and darker than background.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        min_magnitude: length of the optical density vector, 0–255 scale, up to which a pixel is background.

    Returns:
        (H, W) bool.
    """
    dark = np.empty(pixels.shape[:2], bool)
    for rows in row_blocks(pixels.shape):
        squared = cv2.transform(cv2.LUT(pixels[rows], _SQUARED_OD_TABLE), SUM_CHANNELS)
        np.greater(squared, min_magnitude**2, out=dark[rows])
        dark[rows] &= is_seen(pixels[rows])
    return dark


def density_image(haematoxylin: UInt8Array, sigma: float) -> Float32Array:
    """Return the smoothed density of haematoxylin; beyond the image's border the density is taken to be 0, as on glass.

    Args:
        haematoxylin: (H, W) uint8 intensity, dark = stained.
        sigma: standard deviation of the Gaussian, px.

    Returns:
        (H, W) float32, 0–255.
    """
    density = cv2.LUT(haematoxylin, OD_TABLE_GREY)
    return np.asarray(cv2.GaussianBlur(density, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT))


def nuclear_density(haematoxylin: UInt8Array, tissue: BoolArray) -> float:
    """Return the haematoxylin density that best separates nuclei from the rest of a tile's tissue (Otsu 1979).

    Args:
        haematoxylin: (H, W) uint8 intensity, dark = stained.
        tissue: (H, W) bool, the pixels that are used.

    Returns:
        0–255; 0 where there is no tissue.
    """
    return otsu_threshold(density_image(haematoxylin, NUCLEAR_DENSITY_SIGMA)[tissue])


def otsu_threshold(density: Float32Array) -> float:
    """Return the density that best separates densities into two classes (Otsu 1979).

    Args:
        density: (N,) float32, 0–255.

    Returns:
        0–255; 0 where N = 0.
    """
    if density.size == 0:
        return 0.0
    # Spread over the whole of 16 bits: steps of a whole density would show in the scores of nuclei.
    found, _ = cv2.threshold(np.rint(density * 257).astype(np.uint16), 0, 65535, cv2.THRESH_OTSU)
    return float(found) / 257
