"""Tile + Nuclei → 32×32 crops, each nucleus alone on white (paper §IV-B)."""

from __future__ import annotations

import cv2
import numpy as np

from app.pipeline.types import Float32Array, Nuclei, UInt8Array

CROP_PX = 32
"""Edge of a crop, px."""
WHITE = 255


def crop_nuclei(normalised: UInt8Array, nuclei: Nuclei) -> UInt8Array:
    """Cut every nucleus out of the normalised tile.

    Pixels outside the nucleus are white. A nucleus whose longer box edge exceeds 32 px is scaled down to 32; a smaller
    one keeps its size. It is centred on the canvas.

    Args:
        normalised: (H, W, 3) uint8, the Reinhard-normalised tile.
        nuclei: nuclei of the tile.

    Returns:
        (N, 32, 32, 3) uint8, in the order of `nuclei`.
    """
    crops = np.full((len(nuclei), CROP_PX, CROP_PX, 3), WHITE, np.uint8)
    for i, (x0, y0, x1, y1) in enumerate(nuclei.bboxes):
        inside = nuclei.label_image[y0:y1, x0:x1] == i + 1
        cell = _fit(np.where(inside[..., None], normalised[y0:y1, x0:x1], np.uint8(WHITE)))
        height, width = cell.shape[:2]
        top, left = (CROP_PX - height) // 2, (CROP_PX - width) // 2
        crops[i, top : top + height, left : left + width] = cell
    return crops


def _fit(cell: UInt8Array) -> UInt8Array:
    """Scale a cell down so that its longer edge is at most 32 px."""
    height, width = cell.shape[:2]
    longer = max(height, width)
    if longer <= CROP_PX:
        return cell
    size = (max(1, round(width * CROP_PX / longer)), max(1, round(height * CROP_PX / longer)))
    return np.asarray(cv2.resize(cell, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def to_network(crops: UInt8Array) -> Float32Array:
    """Convert crops to what the networks take.

    Args:
        crops: (N, 32, 32, 3) uint8.

    Returns:
        (N, 3, 32, 32) float32 in [-1, 1], white = 1.
    """
    return np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(127.5) - np.float32(1)


def from_network(values: Float32Array) -> UInt8Array:
    """Convert what the generator gives to crops: the inverse of `to_network`, clipped and rounded.

    Args:
        values: (N, 3, 32, 32) float32.

    Returns:
        (N, 32, 32, 3) uint8.
    """
    scaled = np.rint((np.clip(values, -1, 1) + 1) * 127.5).astype(np.uint8)
    return np.ascontiguousarray(scaled.transpose(0, 2, 3, 1))
