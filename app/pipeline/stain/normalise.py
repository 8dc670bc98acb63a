"""Colour normalisation: Reinhard's transfer of mean and spread in Ruderman's lαβ (paper §III-B1, §IV-B)."""

from __future__ import annotations

import cv2
import numpy as np

from app.pipeline.stain.optical_density import row_blocks
from app.pipeline.types import Float32Array, Float64Array, LabStatistics, UInt8Array

RGB_TO_LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
LMS_TO_LAB = np.diag([1 / 3**0.5, 1 / 6**0.5, 1 / 2**0.5]) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
LMS_TO_RGB = np.linalg.inv(RGB_TO_LMS)
LAB_TO_LMS = np.linalg.inv(LMS_TO_LAB)

BLACK_LMS = float(np.spacing(1))
"""Value that replaces the LMS of black, as in HistomicsTK, since 0 has no logarithm."""
MAX_LOG_LMS = 20.0
"""Logarithm of LMS at which normalised values are cut off: its exponential is far above white, and fits in float32."""

MIN_LAB_SD = 1e-3
"""Spread in lαβ below which a channel is constant: dividing by it would turn noise into colour."""


def rgb_to_lab(pixels: UInt8Array) -> Float64Array:
    """Return Ruderman's lαβ of (…, 3) uint8 RGB, as float64."""
    lms = _transform(pixels.astype(np.float64), RGB_TO_LMS)
    lms[lms == 0] = BLACK_LMS
    return _transform(np.asarray(cv2.log(lms)), LMS_TO_LAB)


def _transform(values: Float64Array, matrix: Float64Array) -> Float64Array:
    """Multiply each of (…, 3) values by a (3, 3) matrix; several times as fast as numpy's product of thin arrays."""
    columns = np.ascontiguousarray(values).reshape(-1, 1, 3)
    return np.asarray(cv2.transform(columns, matrix), dtype=np.float64).reshape(values.shape)


def lab_statistics(pixels: UInt8Array) -> LabStatistics | None:
    """Return the mean and standard deviation of lαβ.

    Args:
        pixels: (N, 3) uint8 RGB, those that the statistics are taken of.

    Returns:
        None where lightness does not vary: there is no spread to transfer.
    """
    if len(pixels) == 0:
        return None
    total, squares = np.zeros(3), np.zeros(3)
    for rows in row_blocks((len(pixels), 1, 3)):
        lab = cv2.transform(_log_lms(pixels[rows, None]), LMS_TO_LAB.astype(np.float32))
        block_mean, block_sd = (values[:, 0] for values in cv2.meanStdDev(lab))
        total += len(lab) * block_mean
        squares += len(lab) * (block_sd**2 + block_mean**2)
    mean = total / len(pixels)
    sd = np.sqrt(np.maximum(squares / len(pixels) - mean**2, 0))
    return None if sd[0] < MIN_LAB_SD else LabStatistics(mean, sd)


def _log_lms(pixels: UInt8Array) -> Float32Array:
    """Return the logarithms of LMS of (H, W, 3) uint8 RGB."""
    # The offset is lost in the rounding of every colour but black, to which it gives a logarithm.
    offset = np.full((3, 1), BLACK_LMS)
    to_lms = np.hstack([RGB_TO_LMS, offset]).astype(np.float32)
    return np.asarray(cv2.log(cv2.transform(pixels.astype(np.float32), to_lms)))


def reinhard(pixels: UInt8Array, source: LabStatistics, target: LabStatistics) -> UInt8Array:
    """Move the mean and spread of lαβ from a tile's own to the target's (Reinhard et al. 2001).

    Args:
        pixels: (H, W, 3) uint8 RGB.
        source: statistics of the tile.
        target: statistics that the tile gets.

    Returns:
        (H, W, 3) uint8. A channel that does not vary becomes the target's mean.
    """
    scale = np.where(source.sd < MIN_LAB_SD, 0.0, target.sd / np.maximum(source.sd, MIN_LAB_SD))
    # From logarithms to lαβ, to the target and back is one affine map of the logarithms.
    log_map = np.column_stack(
        [LAB_TO_LMS @ np.diag(scale) @ LMS_TO_LAB, LAB_TO_LMS @ (target.mean - source.mean * scale)]
    ).astype(np.float32)
    to_rgb = LMS_TO_RGB.astype(np.float32)
    moved = np.empty(pixels.shape, np.uint8)
    for rows in row_blocks(pixels.shape):
        # The map can send the logarithm of black far above every colour, and its exponential beyond float32.
        logs = cv2.transform(_log_lms(pixels[rows]), log_map)
        cv2.threshold(logs, MAX_LOG_LMS, MAX_LOG_LMS, cv2.THRESH_TRUNC, logs)
        moved[rows] = np.clip(cv2.transform(cv2.exp(logs), to_rgb), 0, 255)
    return moved
