"""How a nucleus lies in its crop: nuclei are turned to a common pose for what depends on where in a crop a value is."""

from __future__ import annotations

import cv2
import numpy as np

from app.pipeline.crops import CROP_PX, WHITE
from app.pipeline.types import UInt8Array

INK = 250
"""A pixel with a channel below this belongs to the nucleus; outside it a crop is white."""


def upright(crops: UInt8Array) -> UInt8Array:
    """Rotate every nucleus so that it lies along x, and mirror it so that its darker halves are left and on top.

    Args:
        crops: (N, 32, 32, 3) uint8.

    Returns:
        (N, 32, 32, 3) uint8, centred. Rotations of a crop by 90° and its mirror images give nearly the same picture.
    """
    posed = np.stack([_along_x(crop) for crop in crops])
    ink = WHITE - posed.mean(axis=3)
    half = CROP_PX // 2
    mirrored = ink[:, :, :half].sum(axis=(1, 2)) < ink[:, :, half:].sum(axis=(1, 2))
    posed[mirrored] = posed[mirrored, :, ::-1]
    flipped = ink[:, :half].sum(axis=(1, 2)) < ink[:, half:].sum(axis=(1, 2))
    posed[flipped] = posed[flipped, ::-1]
    return posed


def _along_x(crop: UInt8Array) -> UInt8Array:
    """Return a (32, 32, 3) crop whose nucleus is centred and lies with its longest axis along x."""
    rows, columns = np.nonzero(crop.min(axis=2) < INK)
    if len(rows) < 2:
        return crop
    x, y = columns.mean(), rows.mean()
    _, axes = np.linalg.eigh(np.cov(np.stack([columns, rows])))
    transform = cv2.getRotationMatrix2D((x, y), np.degrees(np.arctan2(axes[1, 1], axes[0, 1])), 1.0)
    middle = (CROP_PX - 1) / 2
    transform = transform + np.array([[0, 0, middle - x], [0, 0, middle - y]])
    white = (WHITE, WHITE, WHITE)
    return np.asarray(cv2.warpAffine(crop, transform, (CROP_PX, CROP_PX), borderValue=white), np.uint8)
