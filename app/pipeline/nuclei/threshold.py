"""The paper's method: a constant haematoxylin threshold and its clean-up (paper §III-B1, Fig. 6)."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage
from skimage.measure import label as label_objects

from app.pipeline.presets import ThresholdParams
from app.pipeline.types import BoolArray, Int32Array, UInt8Array

EIGHT_CONNECTED = 2


def segment_by_threshold(haematoxylin: UInt8Array, params: ThresholdParams) -> Int32Array:
    """Find nuclei as the paper does.

    Args:
        haematoxylin: (H, W) uint8 intensity, dark = stained.
        params: numbers of the threshold and the clean-up.

    Returns:
        (H, W) int32 label image, 0 = background, 1…N in reading order of their topmost pixel.
    """
    stained = fill_holes(haematoxylin < params.threshold, params.max_hole_px)
    kept = compact(remove_small(stained, params.min_area_px), params.compaction)
    kernel = np.ones((params.opening_px, params.opening_px), np.uint8)
    # The border is replicated, or the opening would eat every nucleus that touches it.
    opened = cv2.morphologyEx(kept.astype(np.uint8), cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_REPLICATE)
    kept = remove_small(opened.astype(bool), params.min_fragment_px)
    return np.asarray(label_objects(kept, connectivity=EIGHT_CONNECTED), dtype=np.int32)


def fill_holes(stained: BoolArray, max_hole_px: int) -> BoolArray:
    """Fill the holes of nuclei with open chromatin.

    Args:
        stained: (H, W) bool.
        max_hole_px: largest hole that is filled; a larger one lies within a ring of nuclei, or within a frame.

    Returns:
        (H, W) bool, a superset of `stained`.
    """
    holes = ndimage.binary_fill_holes(stained) & ~stained
    return np.asarray(stained | (holes & ~remove_small(holes, max_hole_px + 1)))


def remove_small(stained: BoolArray, min_area_px: int) -> BoolArray:
    """Drop the 8-connected objects of fewer than `min_area_px` pixels.

    Args:
        stained: (H, W) bool.
        min_area_px: smallest object that stays.

    Returns:
        (H, W) bool, a subset of `stained`.
    """
    objects = label_objects(stained, connectivity=EIGHT_CONNECTED)
    large = np.bincount(objects.ravel()) >= min_area_px
    large[0] = False
    return np.asarray(large[objects])


def compact(stained: BoolArray, compaction: int) -> BoolArray:
    """Remove thin protrusions (Wienert et al. 2012, "compaction").

    A pixel at city-block distance i < d from the background is removed unless a path of rising distance leads from it
    into a part of the object that is at least d deep.

    Args:
        stained: (H, W) bool.
        compaction: d, in px.

    Returns:
        (H, W) bool, a subset of `stained`.
    """
    # Pixels beyond the border are unknown, not background: pad with the edge before measuring depth.
    padded = np.pad(stained, compaction, mode="edge")
    depth = np.asarray(ndimage.distance_transform_cdt(padded, metric="taxicab"))
    # scipy gives −1 if there is no background at all.
    depth[depth < 0] = compaction
    cross = ndimage.generate_binary_structure(2, 1)
    for i in range(compaction - 1, 0, -1):
        shallow = (depth == i) & (ndimage.maximum_filter(depth, footprint=cross) < i + 1)
        depth[shallow] -= 1
    inner = slice(compaction, -compaction)
    return np.asarray(depth[inner, inner] > 0)
