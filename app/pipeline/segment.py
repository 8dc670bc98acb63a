"""Tile → Nuclei: stains, haematoxylin threshold, clean-up (paper §III-B1, Fig. 6)."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import cv2
import numpy as np
from scipy import ndimage
from skimage.measure import label as label_objects
from skimage.measure import regionprops_table

from app.pipeline import stain
from app.pipeline.errors import EngineUnavailable
from app.pipeline.presets import Engine, SegmentationParams, StainParams
from app.pipeline.types import BoolArray, Int32Array, Nuclei, Stain, UInt8Array

EIGHT_CONNECTED = 2


def unmix(pixels: UInt8Array, params: StainParams, engine: Engine = "native") -> Stain:
    """Normalise a tile's colours and separate its haematoxylin.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        params: target statistics and Macenko's limits.
        engine: "native", or "histomicstk" for the reference implementation.

    Raises:
        EngineUnavailable: the engine is not installed.
    """
    source = stain_engine(engine)
    limits: dict[str, Any] = {
        "min_magnitude": params.min_magnitude,
        "angle_percentiles": params.angle_percentiles,
    }
    normalised = source.reinhard(pixels, np.asarray(params.target_mean), np.asarray(params.target_sd))
    two_stains = stain.stain_spread_deg(pixels, **limits) >= params.min_angle_deg
    matrix = source.macenko(normalised, **limits) if two_stains else None
    if matrix is None:
        blank = np.full(pixels.shape[:2], 255, np.uint8)
        return Stain(normalised=normalised, haematoxylin=blank, stain_matrix=None)
    return Stain(normalised, source.haematoxylin_image(normalised, matrix), matrix)


def segment(stains: Stain, params: SegmentationParams) -> Nuclei:
    """Find the nuclei of an unmixed tile.

    Args:
        stains: result of `unmix`.
        params: threshold and clean-up.

    Returns:
        Nuclei in reading order of their topmost pixel; none for a degenerate tile.
    """
    stained = fill_holes(stains.haematoxylin < params.threshold, params.max_hole_px)
    kept = compact(remove_small(stained, params.min_area_px), params.compaction)
    kernel = np.ones((params.opening_px, params.opening_px), np.uint8)
    # The border is replicated, or the opening would eat every nucleus that touches it.
    opened = cv2.morphologyEx(kept.astype(np.uint8), cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_REPLICATE)
    kept = remove_small(opened.astype(bool), params.min_fragment_px)
    return measure(np.asarray(label_objects(kept, connectivity=EIGHT_CONNECTED), dtype=np.int32))


def fill_holes(stained: BoolArray, max_hole_px: int) -> BoolArray:
    """Fill the holes of nuclei with open chromatin.

    Args:
        stained: (H, W) bool.
        max_hole_px: a larger hole stays: it is not within a nucleus, but within a ring of them or a frame.

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
    # Where there is no background at all, scipy gives -1.
    depth[depth < 0] = compaction
    cross = ndimage.generate_binary_structure(2, 1)
    for i in range(compaction - 1, 0, -1):
        shallow = (depth == i) & (ndimage.maximum_filter(depth, footprint=cross) < i + 1)
        depth[shallow] -= 1
    inner = slice(compaction, -compaction)
    return np.asarray(depth[inner, inner] > 0)


def measure(labels: Int32Array) -> Nuclei:
    """Centroid, bounding box and area of every labelled nucleus.

    Args:
        labels: (H, W) int32, 0 = background, 1…N without gaps.
    """
    table = regionprops_table(labels, properties=("centroid", "bbox", "area"))
    columns = {name: np.asarray(values) for name, values in table.items()}
    return Nuclei(
        labels=labels,
        centroids=np.column_stack([columns["centroid-1"], columns["centroid-0"]]).astype(np.float64),
        bboxes=np.column_stack([columns[f"bbox-{i}"] for i in (1, 0, 3, 2)]).astype(np.int64),
        areas_px=columns["area"].astype(np.int64),
    )


def contours(nuclei: Nuclei) -> list[Int32Array]:
    """Outer outline of every nucleus.

    Returns:
        One (V, 2) int32 array of x, y per nucleus, V ≥ 1, clockwise on the screen, not closed.
    """
    outlines = []
    for i, (x0, y0, x1, y1) in enumerate(nuclei.bboxes, start=1):
        inside = (nuclei.labels[y0:y1, x0:x1] == i).astype(np.uint8)
        found, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(int(x0), int(y0)))
        # OpenCV goes round the other way.
        outlines.append(np.asarray(max(found, key=len), dtype=np.int32).reshape(-1, 2)[::-1])
    return outlines


def stain_engine(name: Engine) -> ModuleType:
    """The module that computes stains: `stain` itself, or the one that asks HistomicsTK.

    Raises:
        EngineUnavailable: HistomicsTK is not installed.
    """
    if name == "native":
        return stain
    try:
        from app.pipeline import histomicstk_engine
    except ImportError as error:
        raise EngineUnavailable(
            "The bundle asks for segmentation.engine 'histomicstk', and HistomicsTK is not installed."
        ) from error
    return histomicstk_engine
