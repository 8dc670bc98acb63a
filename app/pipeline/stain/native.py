"""Colour normalisation and unmixing: Reinhard in Ruderman's lαβ, then Macenko (paper §III-B1, §IV-B)."""

from __future__ import annotations

import cv2
import numpy as np

from app.pipeline.stain.optical_density import OD_TABLE, OD_TABLE_RGB, SUM
from app.pipeline.stain.strips import strips
from app.pipeline.types import BoolArray, Float32Array, Float64Array, LabStatistics, UInt8Array

RGB_TO_LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
LMS_TO_LAB = np.diag([1 / 3**0.5, 1 / 6**0.5, 1 / 2**0.5]) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
LMS_TO_RGB = np.linalg.inv(RGB_TO_LMS)
LAB_TO_LMS = np.linalg.inv(LMS_TO_LAB)

REFERENCE_HAEMATOXYLIN = np.array([0.650, 0.704, 0.286])
"""Ruifrok & Johnston's haematoxylin; used only to tell which of the two estimated vectors is haematoxylin."""
REFERENCE_EOSIN = np.array([0.072, 0.990, 0.105])

BLACK_LMS = float(np.spacing(1))
"""Stands for black, as in HistomicsTK: ln 0 has no value."""
MAX_LOG_LMS = 20.0

MIN_LAB_SD = 1e-3
"""lαβ spread below which a channel is constant: dividing by it would turn noise into colour."""
MIN_STAINED_PIXELS = 100
"""Pixels that must exceed the magnitude for percentiles at 1% and 99% to mean anything."""
MIN_ANGLE = 1e-3
"""Radians between two stains below which their matrix cannot be inverted."""
SPREAD_PIXELS = 100_000
"""Pixels, about, that the spread of a large tile is measured on."""


def counted_pixels(pixels: UInt8Array, counted: BoolArray) -> UInt8Array:
    """The pixels of a tile that count, row by row.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        counted: (H, W) bool.

    Returns:
        (N, 3) uint8.
    """
    # Whole words are picked several times as fast as triples of bytes.
    words = cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA).view(np.uint32)[..., 0][counted]
    if words.size == 0:
        return np.zeros((0, 3), np.uint8)
    return np.asarray(cv2.cvtColor(words.view(np.uint8).reshape(-1, 1, 4), cv2.COLOR_RGBA2RGB)[:, 0], dtype=np.uint8)


def smoothed(pixels: UInt8Array, sigma: float) -> UInt8Array:
    """A tile under a Gaussian, with glass beyond its border.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        sigma: px; 0 leaves the tile as it is.
    """
    if sigma == 0:
        return pixels
    margin = int(np.ceil(4 * sigma))
    framed = cv2.copyMakeBorder(pixels, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return np.ascontiguousarray(cv2.GaussianBlur(framed, (0, 0), sigma)[margin:-margin, margin:-margin], dtype=np.uint8)


def with_smooth_chroma(pixels: UInt8Array, sigma: float) -> UInt8Array:
    """A tile with its chroma under a Gaussian and its luma as it was: what JPEG at half its colour looks like already.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        sigma: px; 0 leaves the tile as it is.
    """
    if sigma == 0:
        return pixels
    sharp = cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb)
    smooth = cv2.cvtColor(smoothed(pixels, sigma), cv2.COLOR_RGB2YCrCb)
    cv2.mixChannels([sharp], [smooth], [0, 0])
    return np.asarray(cv2.cvtColor(smooth, cv2.COLOR_YCrCb2RGB), dtype=np.uint8)


def rgb_to_lab(pixels: UInt8Array) -> Float64Array:
    """Ruderman's lαβ of (…, 3) uint8 RGB, as float64."""
    lms = _transform(pixels.astype(np.float64), RGB_TO_LMS)
    lms[lms == 0] = BLACK_LMS
    return _transform(np.asarray(cv2.log(lms)), LMS_TO_LAB)


def _transform(values: Float64Array, matrix: Float64Array) -> Float64Array:
    """A (3, 3) matrix times each of (…, 3) values; several times as fast as numpy's product of such thin arrays."""
    columns = np.ascontiguousarray(values).reshape(-1, 1, 3)
    return np.asarray(cv2.transform(columns, matrix), dtype=np.float64).reshape(values.shape)


def lab_statistics(pixels: UInt8Array) -> LabStatistics | None:
    """Mean and standard deviation of lαβ.

    Args:
        pixels: (N, 3) uint8 RGB, those that count.

    Returns:
        None where lightness does not vary: there is no spread to move.
    """
    if len(pixels) == 0:
        return None
    total, squares = np.zeros(3), np.zeros(3)
    for rows in strips((len(pixels), 1, 3)):
        lab = cv2.transform(_log_lms(pixels[rows, None]), LMS_TO_LAB.astype(np.float32))
        part_mean, part_sd = (values[:, 0] for values in cv2.meanStdDev(lab))
        total += len(lab) * part_mean
        squares += len(lab) * (part_sd**2 + part_mean**2)
    mean = total / len(pixels)
    sd = np.sqrt(np.maximum(squares / len(pixels) - mean**2, 0))
    return None if sd[0] < MIN_LAB_SD else LabStatistics(mean, sd)


def _log_lms(pixels: UInt8Array) -> Float32Array:
    """Logarithms of LMS of (H, W, 3) uint8 RGB."""
    # What is added is lost in the rounding of every colour but black, which has no logarithm.
    offset = np.full((3, 1), BLACK_LMS)
    to_lms = np.hstack([RGB_TO_LMS, offset]).astype(np.float32)
    return np.asarray(cv2.log(cv2.transform(pixels.astype(np.float32), to_lms)))


def reinhard(pixels: UInt8Array, source: LabStatistics, target: LabStatistics) -> UInt8Array:
    """Move lαβ mean and spread from a tile's own to the target's (Reinhard et al. 2001).

    Args:
        pixels: (H, W, 3) uint8 RGB.
        source: of the pixels that count.
        target: what they are to become.

    Returns:
        (H, W, 3) uint8. A channel that does not vary becomes the target's mean.
    """
    scale = np.where(source.sd < MIN_LAB_SD, 0.0, target.sd / np.maximum(source.sd, MIN_LAB_SD))
    # To lαβ, to the target and back is one affine map of the logarithms.
    log_map = np.column_stack(
        [LAB_TO_LMS @ np.diag(scale) @ LMS_TO_LAB, LAB_TO_LMS @ (target.mean - source.mean * scale)]
    ).astype(np.float32)
    to_rgb = LMS_TO_RGB.astype(np.float32)
    moved = np.empty(pixels.shape, np.uint8)
    for rows in strips(pixels.shape):
        # What stands for black may go anywhere, and is not to leave the range of float32 there.
        logs = np.minimum(cv2.transform(_log_lms(pixels[rows]), log_map), np.float32(MAX_LOG_LMS))
        moved[rows] = np.clip(cv2.transform(cv2.exp(logs), to_rgb), 0, 255)
    return moved


def macenko(pixels: UInt8Array, *, min_magnitude: float, angle_percentiles: tuple[float, float]) -> Float64Array | None:
    """Estimate the two stain vectors (Macenko et al. 2009).

    Args:
        pixels: (N, 3) uint8 RGB, those that count.
        min_magnitude: optical-density length in the principal plane below which a pixel is background.
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
    """Angle between two stains in their principal plane, in degrees; 0 where there is no plane.

    To be measured on the tile as it came: Reinhard stretches every channel to its target, and makes a second stain out
    of the rounding of a single one.

    Args:
        pixels: (N, 3) uint8 RGB, those that count.
        min_magnitude: see `macenko`.
        angle_percentiles: see `macenko`.
    """
    every = max(1, len(pixels) // SPREAD_PIXELS)
    found = _plane_and_angles(pixels[::every], min_magnitude, angle_percentiles)
    return 0.0 if found is None else float(np.rad2deg(found[2] - found[1]))


def _plane_and_angles(
    pixels: UInt8Array, min_magnitude: float, angle_percentiles: tuple[float, float]
) -> tuple[Float64Array, float, float] | None:
    """The (3, 2) principal plane of optical density, and the low and high angle in it, in radians."""
    column, squares = pixels[:, None], np.zeros((3, 3))
    for rows in strips(column.shape):
        squares += cv2.mulTransposed(cv2.LUT(column[rows], OD_TABLE_RGB)[:, 0], True, dtype=cv2.CV_64F)
    # The left singular vectors of the 3 × N matrix are the eigenvectors of the 3 × 3 matrix odᵀ·od.
    values, vectors = np.linalg.eigh(squares)
    if values[1] <= 1e-9 * max(values[2], 1.0):
        return None
    plane = vectors[:, [2, 1]]
    # eigh leaves the sign free; tissue darkens, so the first axis points to positive density.
    plane[:, 0] *= np.sign(plane[:, 0].sum()) or 1.0
    parts = []
    for rows in strips(column.shape):
        x, y = cv2.split(cv2.transform(cv2.LUT(column[rows], OD_TABLE_RGB), plane.T.astype(np.float32)))
        parts.append(np.arctan2(y, x)[x * x + y * y > min_magnitude**2])
    angles = np.concatenate(parts)
    if len(angles) < MIN_STAINED_PIXELS:
        return None
    low, high = np.percentile(angles, angle_percentiles, method="nearest")
    if high - low < MIN_ANGLE:
        return None
    return plane, float(low), float(high)


def haematoxylin_first(vectors: Float64Array) -> Float64Array:
    """Order two stain vectors by colour, since their order along the angle is arbitrary.

    Args:
        vectors: (3, 2) float64, unit columns.

    Returns:
        (3, 2) float64: the column that leans more to Ruifrok's haematoxylin than to his eosin comes first.
    """
    lean = vectors.T @ REFERENCE_HAEMATOXYLIN - vectors.T @ REFERENCE_EOSIN
    return vectors[:, ::-1] if lean[1] > lean[0] else vectors


def haematoxylin_image(pixels: UInt8Array, stain_matrix: Float64Array) -> UInt8Array:
    """Unmix a tile and render the haematoxylin channel as intensity.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        stain_matrix: (3, 2) haematoxylin and eosin; the third stain is their cross product.

    Returns:
        (H, W) uint8, 255 = none, dark = stained.
    """
    residual = np.cross(stain_matrix[:, 0], stain_matrix[:, 1])
    complete = np.column_stack([stain_matrix, residual / np.linalg.norm(residual)])
    # Density and its logarithm to the base of intensity, of each value of each channel.
    exponents = -np.log(256.0) / 255.0 * OD_TABLE[:, None] * np.linalg.inv(complete)[0]
    table = exponents.astype(np.float32)[None]
    intensity = np.empty(pixels.shape[:2], np.uint8)
    for rows in strips(pixels.shape):
        exponent = cv2.transform(cv2.LUT(pixels[rows], table), SUM)
        intensity[rows] = np.clip(np.float32(256) * cv2.exp(exponent) - np.float32(1), 0, 255)
    return intensity
