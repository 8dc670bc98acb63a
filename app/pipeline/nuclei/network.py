"""Nuclei by a network that has learned them: it gives two maps of a tile, which are divided into nuclei.

The first map is the probability that a pixel lies in a nucleus. The second says how deep in it the pixel lies: 0 at the
edge, 1 at the deepest pixel. Each peak of depth is the core of one nucleus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from app.pipeline.nuclei.measure import measure
from app.pipeline.nuclei.run_lengths import fill_holes
from app.pipeline.nuclei.split import disc, flood
from app.pipeline.presets import NetworkParams
from app.pipeline.stain.unmix import on_white
from app.pipeline.types import Float32Array, Int32Array, Nuclei, Stain, UInt8Array

MapNetwork = Callable[[Float32Array], Float32Array]
"""(B, 3, h, w) float32 in [-1, 1], h and w multiples of GRID_PX → (B, 2, h, w) float32, nucleus and depth, 0–1."""
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
        asked = np.ascontiguousarray((seen.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1))[None]
        maps[:, y, x] = network(asked)[0, :, REACH_PX:-REACH_PX, REACH_PX:-REACH_PX]
    return maps[:, :height, :width]


def _blocks(shape: tuple[int, ...], block_px: int) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and columns of each block of an image of this shape."""
    for y in range(0, shape[0], block_px):
        for x in range(0, shape[1], block_px):
            yield slice(y, min(y + block_px, shape[0])), slice(x, min(x + block_px, shape[1]))


def divide(maps: Float32Array, shape: tuple[int, ...], params: NetworkParams) -> Int32Array:
    """Divide the maps of a tile into nuclei.

    Args:
        maps: (2, h, w) float32 at the network's scale, nucleus and depth, 0–1.
        shape: H, W of the tile.
        params: scale of the network, and thresholds of its maps.

    Returns:
        (H, W) int32, 0 = background, 1…N in reading order of their topmost pixel.
    """
    # With a frame of background, neither the flood nor a peak reaches beyond the tile.
    nucleus, depth = (_enlarged(each, shape, params.reduction) for each in maps)
    mask = (nucleus > params.nucleus_threshold).astype(np.uint8)
    mask = (fill_holes(np.pad(mask, 1), params.max_hole_px) > 0).astype(np.uint8)
    depth = np.pad(cv2.GaussianBlur(depth, (0, 0), params.depth_smoothing_px), 1) * mask
    is_peak = (depth > params.peak_depth) & (depth >= cv2.dilate(depth, disc(params.peak_distance_px)))
    nuclei = join_pieces(flood(mask, depth, is_peak), depth, params.saddle)
    return in_reading_order(nuclei[1:-1, 1:-1], params.min_area_px)


def _enlarged(image: Float32Array, shape: tuple[int, ...], factor: int) -> Float32Array:
    """Return a map at the tile's scale; what was added to the tile to reduce it is cut off."""
    size = (image.shape[1] * factor, image.shape[0] * factor)
    enlarged = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(enlarged[: shape[0], : shape[1]], dtype=np.float32)


def join_pieces(label_image: Int32Array, depth: Float32Array, saddle: float) -> Int32Array:
    """Join neighbours between which the depth hardly falls: a long nucleus has several peaks along its ridge.

    Args:
        label_image: (H, W) int32, the basins of the peaks, 1…M without gaps.
        depth: (H, W) float32.
        saddle: neighbours are joined where the depth between them is at least this share of the lower peak's, 0–1.

    Returns:
        (H, W) int32, 1…N.
    """
    flat, heights = label_image.ravel(), depth.ravel()
    n = int(flat.max(initial=0)) + 1
    peaks = np.zeros(n, np.float32)
    np.maximum.at(peaks, flat, heights)
    joined = []
    for step in (1, label_image.shape[1]):
        first = np.flatnonzero((flat[:-step] != flat[step:]) & (flat[:-step] > 0) & (flat[step:] > 0))
        a, b = flat[first], flat[first + step]
        is_high = np.minimum(heights[first], heights[first + step]) >= saddle * np.minimum(peaks[a], peaks[b])
        joined.append(np.stack([a[is_high], b[is_high]]))
    pairs = np.concatenate(joined, axis=1)
    graph = coo_array((np.ones(pairs.shape[1], np.uint8), (pairs[0], pairs[1])), shape=(n, n))
    # The background, which is joined to nothing, is the first component.
    _, component = connected_components(graph, directed=False)
    return np.asarray(component.astype(np.int32)[label_image])


def in_reading_order(label_image: Int32Array, min_area_px: int = 1) -> Int32Array:
    """Return a label image without its small objects, the others numbered 1…N in reading order of their first pixel."""
    labels, first, areas = np.unique(label_image, return_index=True, return_counts=True)
    kept = (labels > 0) & (areas >= min_area_px)
    numbers = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    numbers[labels[kept][np.argsort(first[kept])]] = np.arange(1, kept.sum() + 1)
    return np.asarray(numbers[label_image])
