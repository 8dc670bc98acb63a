"""Anchors: a clustering of the training cells by their look, which Q learns before the GAN begins.

Not in the paper. Without anchors, Q's clusters are whatever G can generate most distinctly, and differ from seed to
seed. A cell's anchor is its cluster by k-means on its look: its optical density, after rotation to a common pose.
"""

from __future__ import annotations

import cv2
import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from app.pipeline.crops import CROP_PX, WHITE, pictures
from app.pipeline.types import Float32Array, Int64Array, UInt8Array

COMPONENTS = 48
"""Number of principal components of the look."""
STARTS = 10
"""Number of starts of k-means++; the best is kept, so that the seed hardly matters."""
OFFSET = 8.0
"""Added to a pixel (0–255) before its logarithm, so that the darkest pixels do not outweigh the rest."""
INK = 250
"""A pixel with a channel below this belongs to the nucleus; outside it a crop is white."""


def anchor_cells(crops: UInt8Array, n_clusters: int, seed: int) -> Int64Array:
    """Return the anchor of every cell.

    Args:
        crops: (N, 32, 32, C) uint8, at least as many as there are clusters.
        n_clusters: K.
        seed: of the solver of the principal components, and of k-means++.

    Returns:
        (N,) int64 in 0 … K − 1, numbered from the largest to the smallest.
    """
    kmeans = KMeans(n_clusters, n_init=STARTS, random_state=seed).fit(embed(crops, seed))
    order = np.argsort(-np.bincount(kmeans.labels_, minlength=n_clusters), kind="stable")
    return np.argsort(order)[kmeans.labels_].astype(np.int64)


def embed(crops: UInt8Array, seed: int) -> Float32Array:
    """Return the look of every cell: principal components of its optical density, in a common pose.

    Args:
        crops: (N, 32, 32, C) uint8, of which the nucleus alone counts.
        seed: of the solver.

    Returns:
        (N, C) float32, C ≤ 48; all are scaled alike, so that the first component has standard deviation 1.
    """
    density = -np.log((upright(pictures(crops)).reshape(len(crops), -1).astype(np.float32) + OFFSET) / (WHITE + OFFSET))
    components = min(COMPONENTS, *density.shape)
    with np.errstate(invalid="ignore"):  # If all cells are alike, the shares of the variance are 0 / 0.
        scores = PCA(components, svd_solver="randomized", random_state=seed).fit_transform(density)
    spread = float(scores[:, 0].std())
    return np.asarray(scores / spread if spread > 0 else scores, np.float32)


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
