"""The ring round a nucleus that stands for its cytoplasm."""

from __future__ import annotations

import cv2
import numpy as np

from app.pipeline.measure.stretches import Stretches
from app.pipeline.measure.table import RING_UM
from app.pipeline.types import BoolArray, Int32Array, Int64Array

SAMPLED = 2
"""Every so many-th row and column is measured: a ring is even, and has a hundred of these pixels."""
MIN_SAMPLES = 8
"""Pixels of every second row and column that a ring needs."""


def rings(label_image: Int32Array, tissue: BoolArray, mpp: float) -> tuple[Int64Array, Stretches, Int64Array]:
    """Find the pixels of tissue that lie round a nucleus, nearer to it than to any other.

    Args:
        label_image: (H, W) int32, 0 = background, 1…N.
        tissue: (H, W) bool; what is no tissue is glass.
        mpp: µm per pixel.

    Returns:
        Places of the pixels in the flattened tile, one ring after the other; which of them belong to which ring; and
        (R,) the nuclei, 0…N − 1 and rising, that have a ring of MIN_SAMPLES pixels at least.
    """
    sampled = np.ascontiguousarray(label_image[::SAMPLED, ::SAMPLED])
    is_nucleus = sampled != 0
    distance, nearest = cv2.distanceTransformWithLabels(
        (~is_nucleus).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    at = np.flatnonzero((distance <= RING_UM / mpp / SAMPLED) & tissue[::SAMPLED, ::SAMPLED] & ~is_nucleus)
    inside = np.flatnonzero(is_nucleus)
    owner_of = np.zeros(len(inside) + 1, np.int32)
    owner_of[nearest.ravel()[inside]] = sampled.ravel()[inside] - 1
    owners = owner_of[nearest.ravel()[at]]
    counts = np.bincount(owners, minlength=int(label_image.max(initial=0)))
    enough = counts >= MIN_SAMPLES
    kept = enough[owners]
    # A stable sort of numbers of 16 bits is a radix sort.
    numbers = owners[kept].astype(np.uint16 if len(counts) <= 1 << 16 else np.int32)
    y, x = np.divmod(at[kept][np.argsort(numbers, kind="stable")], sampled.shape[1])
    places = (y * label_image.shape[1] + x) * SAMPLED
    return places, Stretches.of_counts(counts[enough]), np.flatnonzero(enough)
