"""Nuclei by a network that has learned them: it gives two maps of a tile, which are divided into nuclei.

The first map is the probability that a pixel lies in a nucleus. The second says how deep in it the pixel lies: 0 at the
edge, 1 at the deepest pixel. Each peak of depth is the core of one nucleus.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product

import cv2
import numpy as np

from app.pipeline.nuclei.flood import Relief, components, find_peaks, flood
from app.pipeline.nuclei.measure import measure
from app.pipeline.nuclei.run_lengths import fill_holes
from app.pipeline.presets import NetworkParams
from app.pipeline.stain.unmix import on_white
from app.pipeline.types import Float32Array, Int32Array, Nuclei, Stain, UInt8Array

MapNetwork = Callable[[UInt8Array], Float32Array]
"""(h, w, 3) uint8 RGB, h and w multiples of GRID_PX → (2, h, w) float32, nucleus and depth, 0–1."""
GRID_PX = 8
"""A shift of the network's input by this many px shifts its maps and changes nothing else."""
REACH_PX = 48
"""How far away a pixel of the network's input may lie and still change a pixel of its maps, px."""
BLOCK_PX = 1024
"""Largest edge of what the network is asked about at once, without its surroundings, px: this bounds its memory."""
WHITE = 255


def segment_by_network(stain: Stain, network: MapNetwork, params: NetworkParams) -> Nuclei:
    """Find the nuclei of a tile.

    Args:
        stain: the normalised tile.
        network: gives the maps.
        params: scale of the network, and thresholds of its maps.

    Returns:
        Nuclei in reading order of their topmost pixel.
    """
    reduced = reduce_tile(on_white(stain.normalised, stain.tissue), params.reduction)
    return measure(divide(predict_maps(reduced, network), stain.tissue.shape, params))


def reduce_tile(pixels: UInt8Array, reduction: int) -> UInt8Array:
    """Return the tile as the network sees it; where its size is no multiple of the reduction, white is added.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        reduction: the width and the height are divided by this.
    """
    height, width = pixels.shape[:2]
    filled = _pad_white(pixels, (0, -height % reduction), (0, -width % reduction))
    size = (filled.shape[1] // reduction, filled.shape[0] // reduction)
    return np.asarray(cv2.resize(filled, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _pad_white(pixels: UInt8Array, rows: tuple[int, int], columns: tuple[int, int]) -> UInt8Array:
    return np.pad(pixels, (rows, columns, (0, 0)), constant_values=WHITE)


def predict_maps(tile: UInt8Array, network: MapNetwork, block_px: int = BLOCK_PX) -> Float32Array:
    """Ask the network about a tile, block by block where it is large; beyond its border lies white.

    Args:
        tile: (h, w, 3) uint8 RGB at the network's scale.
        network: gives the maps.
        block_px: largest edge of a block, a multiple of GRID_PX; it does not change the maps.

    Returns:
        (2, h, w) float32, nucleus and depth, 0–1.
    """
    height, width = tile.shape[:2]
    rows, columns = ((REACH_PX, REACH_PX + -size % GRID_PX) for size in (height, width))
    framed = _pad_white(tile, rows, columns)
    maps = np.empty((2, height + rows[1] - REACH_PX, width + columns[1] - REACH_PX), np.float32)
    for y, x in _blocks(maps.shape[1:], block_px):
        seen = framed[y.start : y.stop + 2 * REACH_PX, x.start : x.stop + 2 * REACH_PX]
        maps[:, y, x] = network(seen)[:, REACH_PX:-REACH_PX, REACH_PX:-REACH_PX]
    return maps[:, :height, :width]


def _blocks(shape: tuple[int, ...], block_px: int) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and columns of each block of an image of this shape; the blocks are about equally large."""
    rows, columns = (_parts(size, block_px) for size in shape)
    return product(rows, columns)


def _parts(size: int, largest_px: int) -> list[slice]:
    """Divide a length, a multiple of GRID_PX, into as few parts as possible."""
    number = math.ceil(size / largest_px)
    step = GRID_PX * math.ceil(size / number / GRID_PX)
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]


def divide(maps: Float32Array, shape: tuple[int, ...], params: NetworkParams) -> Int32Array:
    """Divide the maps of a tile into nuclei.

    Args:
        maps: (2, h, w) float32 at the network's scale, nucleus and depth, 0–1.
        shape: H, W of the tile.
        params: scale of the network, and thresholds of its maps.

    Returns:
        (H, W) int32, 0 = background, 1…N in reading order of their topmost pixel.
    """
    relief = _relief(maps, shape, params)
    pieces = flood(relief, find_peaks(relief, params.peak_depth, params.peak_distance_px))
    nuclei = in_reading_order(join_pieces(pieces, relief, params.saddle), params.min_area_px)
    return np.ascontiguousarray(relief.painted(nuclei)[1:-1, 1:-1])


def _relief(maps: Float32Array, shape: tuple[int, ...], params: NetworkParams) -> Relief:
    """Return the nuclear pixels of a tile with a frame of background, beyond which no flood and no peak can reach."""
    nucleus, depth = maps
    mask = np.pad((_enlarged(nucleus, shape, params.reduction) > params.nucleus_threshold).view(np.uint8), 1)
    mask = fill_holes(mask, params.max_hole_px)
    smooth = cv2.GaussianBlur(_enlarged(depth, shape, params.reduction), (0, 0), params.depth_smoothing_px)
    framed = np.zeros(mask.shape, np.float32)
    cv2.copyTo(smooth, mask[1:-1, 1:-1], framed[1:-1, 1:-1])
    return Relief.of(mask, framed)


def _enlarged(image: Float32Array, shape: tuple[int, ...], factor: int) -> Float32Array:
    """Return a map at the tile's scale; what was added to the tile to reduce it is cut off."""
    size = (image.shape[1] * factor, image.shape[0] * factor)
    enlarged = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(enlarged[: shape[0], : shape[1]], dtype=np.float32)


def join_pieces(pieces: Int32Array, relief: Relief, saddle: float) -> Int32Array:
    """Join neighbours between which the depth hardly falls: a long nucleus has several peaks along its ridge.

    Args:
        pieces: (P,) int32, the basin of each pixel, 1…M without gaps, 0 = none.
        relief: the P pixels.
        saddle: neighbours are joined where the depth between them is at least this share of the lower peak's, 0–1.

    Returns:
        (P,) int32, 1…N, 0 = none.
    """
    n = int(pieces.max(initial=0)) + 1
    peaks = np.zeros(n, np.float32)
    np.maximum.at(peaks, pieces, relief.depth)
    here, there, between = relief.contacts(pieces)
    a, b = pieces[here], pieces[there]
    is_high = between >= saddle * np.minimum(peaks[a], peaks[b])
    # What is in no piece is joined to nothing, and so is the first component.
    _, component = components(a[is_high], b[is_high], n)
    return component[pieces]


def in_reading_order(labels: Int32Array, min_area_px: int = 1) -> Int32Array:
    """Leave out small objects, and number the others 1…N in reading order of their first pixel.

    Args:
        labels: int32 of any shape, the labels of pixels in reading order, 0 = background.
        min_area_px: objects of fewer pixels are left out.
    """
    flat = labels.ravel()
    areas = np.bincount(flat, minlength=1)
    # Of several values for one label numpy keeps the last: in reverse order that is the object's first pixel.
    first = np.zeros(areas.size, np.int64)
    first[flat[::-1]] = np.arange(flat.size)[::-1]
    kept = np.flatnonzero(areas >= max(1, min_area_px))
    kept = kept[kept > 0]
    numbers = np.zeros(areas.size, np.int32)
    numbers[kept[np.argsort(first[kept])]] = np.arange(1, kept.size + 1)
    return np.asarray(numbers[labels])
