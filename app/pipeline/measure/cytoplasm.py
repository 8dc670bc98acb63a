"""The ring round a nucleus that stands for its cytoplasm."""

from __future__ import annotations

import cv2
import numpy as np

from app.pipeline.measure.table import RING_UM
from app.pipeline.types import BoolArray, Int32Array, Int64Array

SAMPLED = 2
"""Every so many-th row and column is measured: a ring is even, and has a hundred of these pixels."""
MIN_SAMPLES = 8
"""Pixels of every second row and column that a ring needs."""


def rings(label_image: Int32Array, tissue: BoolArray, mpp: float) -> tuple[Int64Array, Int32Array, Int64Array]:
    """Find the pixels of tissue that lie round a nucleus, nearer to it than to any other.

    Args:
        label_image: (H, W) int32, 0 = background, 1…N.
        tissue: (H, W) bool; what is no tissue is glass.
        mpp: µm per pixel.

    Returns:
        Places of P pixels in the flattened tile; (P,) int32 the number of the ring that each belongs to; and (R,) the
        nuclei, 0…N − 1 and rising, that have a ring of MIN_SAMPLES pixels at least, ring by ring.
    """
    sampled = np.ascontiguousarray(label_image[::SAMPLED, ::SAMPLED])
    outside = (sampled == 0).view(np.uint8)
    distance, nearest = cv2.distanceTransformWithLabels(
        outside, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    in_ring = (distance <= RING_UM / mpp / SAMPLED) & tissue[::SAMPLED, ::SAMPLED] & outside.view(bool)
    at = np.flatnonzero(in_ring)
    inside = np.flatnonzero(sampled)
    owner_of = np.zeros(len(inside) + 1, np.int32)
    owner_of[nearest.ravel()[inside]] = sampled.ravel()[inside] - 1
    owners = owner_of[nearest.ravel()[at]]
    enough = np.bincount(owners, minlength=int(label_image.max(initial=0))) >= MIN_SAMPLES
    kept = enough[owners]
    y, x = np.divmod(at[kept], sampled.shape[1])
    number_of = (np.cumsum(enough) - 1).astype(np.int32)
    return (y * label_image.shape[1] + x) * SAMPLED, number_of[owners[kept]], np.flatnonzero(enough)
