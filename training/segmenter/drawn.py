"""Drawn tiles: their nuclei have outlines that are known exactly, and sizes that real tiles rarely have.

The pseudo-labels of real tiles have the outlines of our own segmentation, and its preference for middle sizes. Drawn
nuclei teach neither what a nucleus looks like nor where one lies, only where an edge is, from 8 px across to the nuclei
of megakaryocytes.
"""

from __future__ import annotations

import cv2
import numpy as np

from app.pipeline.types import Float32Array, Float64Array, Int32Array, UInt8Array
from training.segmenter.pseudo_labels import make_labels

DIAMETERS_PX = (8.0, 80.0)
"""Smallest and largest diameter of the nuclei of most drawn tiles, px at the tile's scale."""
LARGE_DIAMETERS_PX = (80.0, 240.0)
"""The same of the few nuclei that are as large as those of megakaryocytes."""
LARGE_SHARE, LOBED_SHARE, CROWDED_SHARE = 0.3, 0.15, 0.65
"""Shares of the tiles that have a large nucleus, of the nuclei that have lobes, and of the tiles with touching ones."""
HAEMATOXYLIN, EOSIN = (0.65, 0.70, 0.29), (0.09, 0.95, 0.28)
"""Optical density of red, green and blue of one unit of each stain (Ruifrok and Johnston 2001)."""
MAX_COVERED = 0.25
"""Largest share of a nucleus in a crowd that others cover."""
FEWEST, MOST = 10, 250
SUBPIXEL_BITS = 4


def drawn_lesson(random: np.random.Generator, edge_px: int, reduction: int) -> UInt8Array:
    """Draw a tile, and make its lesson: pixels and labels at the network's scale.

    Args:
        random: every draw comes from it.
        edge_px: edge of the lesson, px at the network's scale.
        reduction: the tile is drawn at this many times that scale.

    Returns:
        (edge_px, edge_px, 7) uint8: RGB and pseudo-labels.
    """
    labels = _drawn_nuclei(random, edge_px * reduction)
    pixels = _stained(random, labels)
    reduced = cv2.resize(pixels, (edge_px, edge_px), interpolation=cv2.INTER_AREA)
    return np.dstack([reduced, make_labels(labels, np.zeros(labels.shape, bool), reduction, min_solidity=0).stacked()])


def _drawn_nuclei(random: np.random.Generator, edge_px: int) -> Int32Array:
    """Return the label image of nuclei that lie where there is room for them."""
    labels = np.zeros((edge_px, edge_px), np.int32)
    is_crowded = random.random() < CROWDED_SHARE
    middle = _log_uniform(random, *DIAMETERS_PX)
    diameters = [_log_uniform(random, *LARGE_DIAMETERS_PX)] if random.random() < LARGE_SHARE else []
    n = int(np.clip(random.uniform(0.2, 1.5) * (edge_px / middle) ** 2, FEWEST, MOST))
    diameters += [float(np.clip(middle * random.lognormal(0, 0.3), *DIAMETERS_PX)) for _ in range(n)]
    for label, diameter in enumerate(diameters, start=1):
        shape = np.zeros(labels.shape, np.uint8)
        _draw_nucleus(random, shape, random.uniform(0, edge_px, 2), diameter / 2)
        if is_crowded:
            # Where two nuclei lie over each other, one of them is seen whole, and most of the other.
            covered = shape[labels > 0].sum() / max(1, shape.sum())
            if covered < MAX_COVERED:
                labels[(shape > 0) & (labels == 0)] = label
        elif not ((labels > 0) & (cv2.dilate(shape, np.ones((7, 7), np.uint8)) > 0)).any():
            labels[shape > 0] = label
    return labels


def _draw_nucleus(random: np.random.Generator, shape: UInt8Array, centre: Float64Array, radius: float) -> None:
    if random.random() >= LOBED_SHARE or radius < 10:
        _draw_outline(random, shape, centre, radius)
        return
    # Lobes lie along an arc, and each touches the one before.
    lobe = radius * 0.55
    at, direction = np.array(centre, np.float64), random.uniform(0, 2 * np.pi)
    for _ in range(random.integers(2, 5)):
        _draw_outline(random, shape, at, lobe)
        direction += random.uniform(-0.9, 0.9)
        at = at + 1.5 * lobe * np.array([np.cos(direction), np.sin(direction)])


def _draw_outline(random: np.random.Generator, shape: UInt8Array, centre: Float64Array, radius: float) -> None:
    """Fill an ellipse with a wavy outline, whose area is that of the circle with this radius."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    waves = sum(random.normal(0, 0.04 / k) * np.cos(k * angles + random.uniform(0, 2 * np.pi)) for k in (2, 3, 4, 5))
    stretch = np.sqrt(random.uniform(1, 1.8))
    x, y = radius * (1 + waves) * np.cos(angles) * stretch, radius * (1 + waves) * np.sin(angles) / stretch
    turn = random.uniform(0, np.pi)
    points = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=1) + centre
    # A coordinate of 0 is the middle of a pixel, and the shape contains the pixels whose middle it contains.
    cv2.fillPoly(shape, [np.rint((points - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32)], 1, shift=SUBPIXEL_BITS)


def _stained(random: np.random.Generator, labels: Int32Array) -> UInt8Array:
    """Return the picture of a tile with these nuclei, (H, W, 3) uint8 RGB."""
    densities = random.uniform(0.7, 1.6) * np.exp(random.normal(0, 0.2, labels.max(initial=0) + 1))
    densities[0] = 0
    chromatin = 1 + random.uniform(0.05, 0.35) * _texture(random, labels.shape, random.uniform(1, 4))
    ground = 1 + 0.4 * _texture(random, labels.shape, random.uniform(3, 30))
    haematoxylin = densities[labels] * chromatin + random.uniform(0.02, 0.35) * ground
    eosin = random.uniform(0.1, 0.8) * (1 + 0.4 * _texture(random, labels.shape, random.uniform(3, 30)))
    eosin = np.where(labels > 0, eosin * random.uniform(0.3, 1), eosin)
    colours = np.array([HAEMATOXYLIN, EOSIN]) * random.uniform(0.85, 1.15, (2, 3))
    density = np.maximum(haematoxylin, 0)[..., None] * colours[0] + np.maximum(eosin, 0)[..., None] * colours[1]
    seen = cv2.GaussianBlur(np.exp(-density).astype(np.float32), (0, 0), random.uniform(0.8, 2.0))
    return np.asarray(np.rint(255 * seen), np.uint8)


def _texture(random: np.random.Generator, shape: tuple[int, ...], sigma_px: float) -> Float32Array:
    """Return noise with a mean of 0 and a standard deviation of 1 that is smooth over some px, (H, W) float32."""
    noise = cv2.GaussianBlur(random.standard_normal(shape).astype(np.float32), (0, 0), sigma_px)
    return np.asarray(noise / noise.std(), np.float32)


def _log_uniform(random: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(random.uniform(np.log(low), np.log(high))))
