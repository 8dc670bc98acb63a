"""A synthetic tile to try the service on: generated cells, in their surroundings or on a drawn background.

No pixel comes from a slide.
"""

from __future__ import annotations

import cv2
import numpy as np

from app.pipeline.crops import CROP_PX, FIELD_PX, WHITE, pictures, surroundings
from app.pipeline.types import CHANNELS, BoolArray, Float64Array, Int64Array, UInt8Array

SIZE_PX = 512
SPACING_PX = 38
JITTER_PX = 5
"""Cells lie on a grid; each is moved by up to this much along x and y."""
APART_PX = 23
"""Cells in surroundings lie closer; this is their smallest distance from middle to middle."""
TRIES = 8000
"""Number of places at which it is tried to put such a cell; with more, the tile takes up hardly any more."""
MARGIN_PX = FIELD_PX // 2 + CROP_PX // 2
"""What is drawn beyond the border of the tile and then cut off."""
FADING_PX = 3.5
"""At this distance from its middle, a field has lost two thirds of its weight: of several, the nearest counts most."""
FAINT = 1e-12
"""Weight of the drawn background, which is therefore seen only where no field lies."""
EOSIN = np.array([226.0, 168.0, 205.0])
GLASS = np.array([243.0, 240.0, 243.0])
FAT_VACUOLES = ((90, 110, 62), (400, 60, 48), (430, 420, 75))
"""x, y, radius in px."""
TEXTURE = ((2.0, 9.0), (12.0, 7.0))
"""Each layer of cytoplasm texture: standard deviation of its blur in px, and of its grey levels."""


def draw_tile(cells: UInt8Array, seed: int = 0) -> UInt8Array:
    """Draw a tile like one of marrow, with vacuoles of fat.

    Args:
        cells: (N, 32, 32, C) uint8 prototypes, N large enough to fill the tile. With 7 channels, each lies in its own
            surroundings; with 3, all lie on a drawn background.
        seed: of the texture and of the places of the cells.

    Returns:
        (512, 512, 3) uint8.
    """
    random = np.random.default_rng(seed)
    tile, fat = _background(random)
    if cells.shape[-1] == CHANNELS["surroundings"]:
        tile = _in_surroundings(cells, tile, fat, random)
    else:
        _on_background(cells, tile, fat, random)
    return np.clip(np.rint(tile), 0, 255).astype(np.uint8)


def _on_background(cells: UInt8Array, tile: Float64Array, fat: BoolArray, random: np.random.Generator) -> None:
    """Draw (N, 32, 32, 3) cells on a grid into the tile."""
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


def _in_surroundings(
    cells: UInt8Array, background: Float64Array, fat: BoolArray, random: np.random.Generator
) -> Float64Array:
    """Blend the fields of (N, 32, 32, 7) cells into each other, and draw the nuclei on top; (512, 512, 3) float64."""
    edge = ((MARGIN_PX, MARGIN_PX), (MARGIN_PX, MARGIN_PX))
    tile, weights = FAINT * np.pad(background, (*edge, (0, 0))), np.full((*np.pad(fat, edge).shape, 1), FAINT)
    window = _window()
    places = _places(fat, random) + MARGIN_PX
    turned = [np.rot90(cell, int(random.integers(4))) for cell in cells[: len(places)]]
    for place, cell in zip(places, turned, strict=False):
        field = cv2.resize(surroundings(cell), (FIELD_PX, FIELD_PX), interpolation=cv2.INTER_CUBIC)
        _square(tile, place, FIELD_PX)[:] += window * field
        _square(weights, place, FIELD_PX)[:] += window
    tile /= weights
    for place, cell in zip(places, turned, strict=False):
        # A nucleus that is larger than a crop is smaller there than in its field, where it can be seen already.
        if _extent_px(cell) <= CROP_PX:
            inside = _nucleus(pictures(cell)).astype(np.float64)
            # Its edge is soft on the inner side alone: outside, a crop is white.
            inside = (inside * cv2.GaussianBlur(inside, (3, 3), 0))[..., None]
            under = _square(tile, place, CROP_PX)
            under[:] = inside * pictures(cell) + (1 - inside) * under
    tile = tile[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    tile[fat] = GLASS
    return tile


def _places(fat: BoolArray, random: np.random.Generator) -> Int64Array:
    """Draw middles of cells that keep away from each other and from fat, (N, 2) int64: y and x in px of the tile.

    Unlike on a grid, no rows are seen. Some lie just beyond the border, so that cells are cut by it as in a real tile.
    """
    free = cv2.distanceTransform((~np.pad(fat, MARGIN_PX)).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    kept = np.empty((0, 2), np.int64)
    for place in random.integers(-CROP_PX // 2, SIZE_PX + CROP_PX // 2, (TRIES, 2)):
        y, x = place + MARGIN_PX
        if free[y, x] > CROP_PX // 2 and (((kept - place) ** 2).sum(axis=1) >= APART_PX**2).all():
            kept = np.vstack([kept, place])
    return kept


def _square(pixels: Float64Array, place: Int64Array, edge: int) -> Float64Array:
    """Return the part of pixels round a place, (edge, edge, …), to be written to."""
    top, left = place - edge // 2
    return pixels[top : top + edge, left : left + edge]


def _window() -> Float64Array:
    """Return the weight of each pixel of a field, which falls from its middle, (64, 64, 1).

    It falls by the same share with every pixel: where two fields meet, one passes into the other over a few pixels.
    """
    offsets = np.arange(FIELD_PX) - (FIELD_PX - 1) / 2
    return np.exp(-np.hypot(offsets[:, None], offsets) / FADING_PX)[..., None]


def _extent_px(cell: UInt8Array) -> int:
    """Return the longer edge of the box round the nucleus in the field of a (32, 32, 7) cell, px of the tile."""
    rows, columns = np.nonzero(cell[..., 6] > WHITE // 2)
    return 2 * int(max(np.ptp(rows), np.ptp(columns)) + 1) if len(rows) else 0


def _background(random: np.random.Generator) -> tuple[Float64Array, BoolArray]:
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
