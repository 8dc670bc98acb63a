"""A synthetic tile to try the service on: generated cells on a drawn background. No pixel comes from a slide."""

from __future__ import annotations

import cv2
import numpy as np

from app.pipeline.crops import CROP_PX
from app.pipeline.types import BoolArray, UInt8Array

SIZE_PX = 512
SPACING_PX = 38
JITTER_PX = 5
"""Cells lie on a grid; each is moved by up to this much along x and y."""
EOSIN = np.array([226.0, 168.0, 205.0])
GLASS = np.array([243.0, 240.0, 243.0])
FAT_VACUOLES = ((90, 110, 62), (400, 60, 48), (430, 420, 75))
"""x, y, radius in px."""
TEXTURE = ((2.0, 9.0), (12.0, 7.0))
"""Each layer of cytoplasm texture: standard deviation of its blur in px, and of its grey levels."""


def draw_tile(cells: UInt8Array, seed: int = 0) -> UInt8Array:
    """Scatter cells over a background like that of marrow.

    Args:
        cells: (N, 32, 32, 3) uint8 prototypes, N large enough to fill the tile.
        seed: of the texture and of the places of the cells.

    Returns:
        (512, 512, 3) uint8.
    """
    random = np.random.default_rng(seed)
    tile, fat = _background(random)
    margin = CROP_PX // 2 + JITTER_PX
    rows = np.arange(margin, SIZE_PX - margin, SPACING_PX)
    places = [(y, x) for y in rows for x in rows]
    for (y, x), cell in zip(places, cells, strict=False):
        cell = np.rot90(cell, int(random.integers(4)))
        top, left = np.array([y, x]) - CROP_PX // 2 + random.integers(-JITTER_PX, JITTER_PX + 1, 2)
        window = (slice(top, top + CROP_PX), slice(left, left + CROP_PX))
        if fat[window].any():
            continue
        inside = cv2.GaussianBlur(_nucleus(cell).astype(np.float64), (3, 3), 0)[..., None]
        tile[window] = inside * cell + (1 - inside) * tile[window]
    return np.clip(np.rint(tile), 0, 255).astype(np.uint8)


def _background(random: np.random.Generator) -> tuple[np.ndarray, BoolArray]:
    """Draw cytoplasm with soft texture, and round vacuoles of fat; (512, 512, 3) float64, (512, 512) bool = fat."""
    tile = np.tile(EOSIN, (SIZE_PX, SIZE_PX, 1))
    for blur, spread in TEXTURE:
        layer = cv2.GaussianBlur(random.standard_normal((SIZE_PX, SIZE_PX)), (0, 0), blur)
        # Darker cytoplasm is also pinker: green falls most.
        tile += (layer / layer.std() * spread)[..., None] * np.array([0.6, 1.0, 0.7])
    fat = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    for x, y, radius in FAT_VACUOLES:
        cv2.circle(fat, (x, y), radius, 1, thickness=-1)
    tile[fat > 0] = GLASS
    return tile, fat > 0


def _nucleus(cell: UInt8Array) -> BoolArray:
    """Return which pixels of a generated cell are its nucleus and not the white around it; (32, 32) bool."""
    dark = (cell.min(axis=2) < 225).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(dark)
    if count == 1:
        return np.zeros(dark.shape, bool)
    return np.asarray(labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()))
