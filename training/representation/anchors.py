"""Anchors: a clustering of the training cells by their look, for Q to hold on to.

Not in the paper. There Q's clusters are whatever G finds easy to draw apart, and differ from seed to seed. An anchor is
what k-means makes of a cell's look: its optical density, turned to a common pose. Q learns the anchors before the GAN
begins.
"""

from __future__ import annotations

import cv2
import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from app.pipeline.crops import CROP_PX, WHITE
from app.pipeline.types import Float32Array, Int64Array, UInt8Array

COMPONENTS = 48
"""Principal components of the look."""
STARTS = 10
"""Starts of k-means++; the best is kept, so that the seed hardly matters."""
OFFSET = 8.0
"""Added to a pixel (0–255) before its logarithm, so that the darkest do not outweigh all others."""
INK = 250
"""A pixel with a channel below this belongs to the nucleus; outside it a crop is white."""


def anchor_cells(crops: UInt8Array, n_clusters: int, seed: int) -> Int64Array:
    """Anchor of every cell.

    Args:
        crops: (N, 32, 32, 3) uint8, at least as many as there are clusters.
        n_clusters: K.
        seed: of the principal components' solver and of k-means++.

    Returns:
        (N,) int64 in 0 … K − 1, numbered from the largest to the smallest.
    """
    kmeans = KMeans(n_clusters, n_init=STARTS, random_state=seed).fit(embed(crops, seed))
    order = np.argsort(-np.bincount(kmeans.labels_, minlength=n_clusters), kind="stable")
    return np.argsort(order)[kmeans.labels_].astype(np.int64)


def embed(crops: UInt8Array, seed: int) -> Float32Array:
    """Look of every cell: principal components of the optical density in a common pose.

    Args:
        crops: (N, 32, 32, 3) uint8.
        seed: of the solver.

    Returns:
        (N, C) float32, C ≤ 48; the first component has standard deviation 1, the others keep their ratio to it.
    """
    density = -np.log((upright(crops).reshape(len(crops), -1).astype(np.float32) + OFFSET) / (WHITE + OFFSET))
    components = min(COMPONENTS, *density.shape)
    with np.errstate(invalid="ignore"):  # Cells that are all alike have no variance to take shares of.
        scores = PCA(components, svd_solver="randomized", random_state=seed).fit_transform(density)
    spread = float(scores[:, 0].std())
    return np.asarray(scores / spread if spread > 0 else scores, np.float32)


def upright(crops: UInt8Array) -> UInt8Array:
    """Turn every nucleus to lie along x, and mirror it so that its darker halves are left and on top.

    Returns:
        (N, 32, 32, 3) uint8, centred. A crop's turns by 90° and its mirror images give nearly the same picture.
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
    rows, columns = np.nonzero(crop.min(axis=2) < INK)
    if len(rows) < 2:
        return crop
    x, y = columns.mean(), rows.mean()
    _, axes = np.linalg.eigh(np.cov(np.stack([columns, rows])))
    turn = cv2.getRotationMatrix2D((x, y), np.degrees(np.arctan2(axes[1, 1], axes[0, 1])), 1.0)
    middle = (CROP_PX - 1) / 2
    turn = turn + np.array([[0, 0, middle - x], [0, 0, middle - y]])
    white = (WHITE, WHITE, WHITE)
    return np.asarray(cv2.warpAffine(crop, turn, (CROP_PX, CROP_PX), borderValue=white), np.uint8)
