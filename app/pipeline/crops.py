"""Tile + Nuclei → 32×32 crops: each nucleus alone on white (paper §IV-B), and what lies round it if Q looks at that."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from app.pipeline.types import CHANNELS, CropKind, Float32Array, Nuclei, UInt8Array

CROP_PX = 32
"""Edge of a crop, px."""
FIELD_PX = 2 * CROP_PX
"""Edge of the field round a nucleus, px; it is shown at half size."""
WHITE = 255


def crop_cells(normalised: UInt8Array, nuclei: Nuclei, kind: CropKind) -> UInt8Array:
    """Cut what Q sees of every cell out of the normalised tile.

    Channels 0 to 2 are what `crop_nuclei` gives. The kind "surroundings" has four more, of a field of 64 × 64 px with
    the nucleus in its middle, at half size: channels 3 to 5 are all that lies there, mirrored beyond the border of the
    tile, and channel 6 is the nucleus itself: 255 inside, 0 outside.

    Args:
        normalised: (H, W, 3) uint8, the Reinhard-normalised tile.
        nuclei: nuclei of the cells.
        kind: what to cut.

    Returns:
        (N, 32, 32, C) uint8, C = `CHANNELS[kind]`, in the order of `nuclei`.
    """
    alone = crop_nuclei(normalised, nuclei)
    if kind == "nucleus":
        return alone
    if len(nuclei) == 0:
        return np.zeros((0, CROP_PX, CROP_PX, CHANNELS[kind]), np.uint8)
    # One tall picture of all cells: OpenCV joins channels five times as fast as NumPy.
    seen, own = _fields(normalised, nuclei)
    tall = [part.reshape(-1, CROP_PX, part.size // own.size) for part in (alone, seen, own)]
    return np.asarray(cv2.merge(tall), np.uint8).reshape(-1, CROP_PX, CROP_PX, CHANNELS[kind])


def seen(crops: UInt8Array, kind: CropKind) -> UInt8Array:
    """Return what Q sees of each cell: the channels of a kind, of crops that have at least these."""
    return crops[..., : CHANNELS[kind]]


def pictures(crops: UInt8Array) -> UInt8Array:
    """Return what a person is shown of each cell, the nucleus alone on white: (N, 32, 32, C) → (N, 32, 32, 3)."""
    return crops[..., :3]


def surroundings(crops: UInt8Array) -> UInt8Array:
    """Return each nucleus with what lies round it, at half size: (N, 32, 32, 7) → (N, 32, 32, 3)."""
    return crops[..., 3:6]


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


def _fields(normalised: UInt8Array, nuclei: Nuclei) -> tuple[UInt8Array, UInt8Array]:
    """Return channels 3 to 5 and channel 6 of `crop_cells`, (N, 32, 32, 3) and (N, 32, 32) uint8."""
    seen = np.zeros((len(nuclei), CROP_PX, CROP_PX, 3), np.uint8)
    masks = np.zeros((len(nuclei), CROP_PX, CROP_PX), np.uint8)
    halved = _halved(_with_margin(normalised, cv2.BORDER_REFLECT))
    labels = _with_margin(nuclei.label_image, cv2.BORDER_CONSTANT)
    # A pixel's index is its centre, so the pixel at x ends half a px later. The margin moves a field by half its edge.
    corners = np.rint((nuclei.centroids + 0.5) / 2).astype(int).tolist()
    for i, (x, y) in enumerate(corners):
        seen[i] = halved[y : y + CROP_PX, x : x + CROP_PX]
        masks[i] = _halved(cv2.inRange(labels[2 * y : 2 * y + FIELD_PX, 2 * x : 2 * x + FIELD_PX], i + 1, i + 1))
    return seen, masks


def _with_margin(picture: NDArray[Any], border: int) -> NDArray[Any]:
    """Surround a picture by half a field, mirrored or of zeros, and make both edges even."""
    margin = FIELD_PX // 2
    height, width = picture.shape[:2]
    return cv2.copyMakeBorder(picture, margin, margin + height % 2, margin, margin + width % 2, border)


def _halved(picture: NDArray[Any]) -> UInt8Array:
    """Return the means of all blocks of 2 × 2 px."""
    height, width = picture.shape[:2]
    return np.asarray(cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.uint8)


def to_network(crops: UInt8Array) -> Float32Array:
    """Convert crops to what the networks take.

    Args:
        crops: (N, 32, 32, C) uint8.

    Returns:
        (N, C, 32, 32) float32 in [-1, 1], white = 1.
    """
    return np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(127.5) - np.float32(1)


def from_network(values: Float32Array) -> UInt8Array:
    """Convert what the generator gives to crops: the inverse of `to_network`, clipped and rounded.

    Args:
        values: (N, C, 32, 32) float32.

    Returns:
        (N, 32, 32, C) uint8.
    """
    scaled = np.rint((np.clip(values, -1, 1) + 1) * 127.5).astype(np.uint8)
    return np.ascontiguousarray(scaled.transpose(0, 2, 3, 1))
