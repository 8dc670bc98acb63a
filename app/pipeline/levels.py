"""Nuclei as the best outlined objects among those that many thresholds give.

No one threshold fits all nuclei of a tile: pale ones need a low one, touching ones a high one. Objects at rising levels
of haematoxylin density lie within each other and make a tree (Matas et al. 2004, "MSER"; Arteta et al. 2012). Each is
scored by size, shape, density and outline, and the best set of objects that do not overlap is kept. Nothing is learned.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log

import cv2
import numpy as np
from skimage.segmentation import watershed

from app.pipeline.nuclei import in_reading_order
from app.pipeline.presets import LevelParams, ScoreParams
from app.pipeline.stain import density_image
from app.pipeline.types import BoolArray, Float32Array, Int32Array, UInt8Array

DEPTH_SIGMA = 1.0
"""px; smooths the depth of an object before its peaks are sought."""
SCHARR_SUM = 32.0


@dataclass(slots=True)
class Candidate:
    """An object that may be a nucleus.

    Attributes:
        origin: x, y of its mask's first pixel, in the tile with its margin.
        mask: (h, w) bool.
        area_px: number of its pixels.
        solidity: its area over that of its convex hull, 0–1.
        edge: mean gradient of relative density along its outline, per px.
        density: its mean relative density; 1 is what parts nuclei from the rest.
        children: the objects that it falls into at the next level.
        parts: the objects that its waist divides it into.
    """

    origin: tuple[int, int]
    mask: BoolArray
    area_px: int
    solidity: float
    edge: float
    density: float
    children: list[Candidate] = field(default_factory=list)
    parts: list[Candidate] = field(default_factory=list)


def segment_by_levels(haematoxylin: UInt8Array, nuclear_density: float, params: LevelParams) -> Int32Array:
    """Nuclei of a tile.

    Args:
        haematoxylin: (H, W) uint8 intensity, dark = stained; 255 where there is no tissue.
        nuclear_density: of the tile or its slide, see `stain.nuclear_density`; held within the preset's range.
        params: levels, shapes and scores.

    Returns:
        (H, W) int32 labels, 0 = background, 1…N in reading order of their topmost pixel.
    """
    # Glass round the tile makes its border and white beyond it the same thing; 4 sigma is how far smoothing sees.
    margin = int(np.ceil(4 * params.smoothing_px))
    framed = np.pad(haematoxylin, margin, constant_values=255)
    low, high = params.nuclear_density_range
    density = density_image(framed, params.smoothing_px) / np.float32(np.clip(nuclear_density, low, high))
    labels = np.zeros(density.shape, np.int32)
    for i, nucleus in enumerate(select(grow(density, params), params.score), start=1):
        x, y = nucleus.origin
        height, width = nucleus.mask.shape
        labels[y : y + height, x : x + width][nucleus.mask] = i
    return in_reading_order(labels[margin:-margin, margin:-margin])


def grow(density: Float32Array, params: LevelParams) -> list[Candidate]:
    """The tree of objects at rising levels.

    Args:
        density: (H, W) float32 relative density.
        params: levels and shapes.

    Returns:
        The objects of the lowest level, which hold all others.
    """
    dx, dy = cv2.Scharr(density, cv2.CV_32F, 1, 0), cv2.Scharr(density, cv2.CV_32F, 0, 1)
    gradient = np.asarray(cv2.magnitude(dx, dy) / np.float32(SCHARR_SUM))
    roots: list[Candidate] = []
    below: tuple[Int32Array, list[Candidate | None]] | None = None
    for level in params.levels:
        cleaned = clean((density > level).astype(np.uint8), params)
        n_labels, labels, stats, _ = cv2.connectedComponentsWithStats(cleaned, connectivity=8)
        found: list[Candidate | None] = [None] * n_labels
        for i in range(1, n_labels):
            x, y, width, height, area = (int(value) for value in stats[i])
            if area < params.min_area_px:
                continue
            mask = labels[y : y + height, x : x + width] == i
            candidate = found[i] = _describe(mask, (x, y), area, density, gradient, params)
            parent = None if below is None else below[1][below[0][y, x + int(np.argmax(mask[0]))]]
            (roots if parent is None else parent.children).append(candidate)
        below = np.asarray(labels), found
    return roots


def clean(stained: UInt8Array, params: LevelParams) -> UInt8Array:
    """Close gaps of a rim, fill hollow nuclei, cut thin bridges. No step breaks the nesting of levels.

    Args:
        stained: (H, W) uint8, 0 or 1.
        params: radii and largest hole.
    """
    closed = cv2.morphologyEx(stained, cv2.MORPH_CLOSE, _disc(params.closing_px))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(1 - closed, connectivity=4)
    hole = (stats[:, cv2.CC_STAT_AREA] <= params.max_hole_px).astype(np.uint8)
    # Neither what is stained nor the glass round the tile is a hole, however small the tile.
    hole[0] = hole[labels[0, 0]] = 0
    return np.asarray(cv2.morphologyEx(closed | hole[labels], cv2.MORPH_OPEN, _disc(params.opening_px)), dtype=np.uint8)


def _describe(
    mask: BoolArray,
    origin: tuple[int, int],
    area: int,
    density: Float32Array,
    gradient: Float32Array,
    params: LevelParams,
    *,
    divide: bool = True,
) -> Candidate:
    if area > params.max_area_px:
        # Its mask will not be painted, and over all levels such masks would fill the memory.
        return Candidate(origin, np.zeros((0, 0), bool), area, 0.0, 0.0, 0.0)
    x, y = origin
    here = np.s_[y : y + mask.shape[0], x : x + mask.shape[1]]
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=len)
    # Pick's theorem turns the area of a polygon through pixel centres into a number of pixels.
    rim = len(outline) / 2 + 1
    candidate = Candidate(
        origin,
        mask,
        area,
        solidity=(cv2.contourArea(outline) + rim) / (cv2.contourArea(cv2.convexHull(outline)) + rim),
        edge=float(gradient[here][outline[:, 0, 1], outline[:, 0, 0]].mean()),
        density=float(density[here][mask].mean()),
    )
    if divide and candidate.solidity < params.waist_solidity:
        for part, (left, top) in divided(mask, params):
            size = int(part.sum())
            if size >= params.min_area_px:
                place = (x + left, y + top)
                candidate.parts.append(_describe(part, place, size, density, gradient, params, divide=False))
    return candidate


def divided(mask: BoolArray, params: LevelParams) -> list[tuple[BoolArray, tuple[int, int]]]:
    """Cut an object at its waists, between peaks of its depth.

    Args:
        mask: (H, W) bool.
        params: distance of peaks.

    Returns:
        Mask and x, y of each part; none where the object has one peak.
    """
    padded = np.pad(mask, 1).astype(np.uint8)
    depth = cv2.GaussianBlur(cv2.distanceTransform(padded, cv2.DIST_L2, 5), (0, 0), DEPTH_SIGMA) * padded
    peak = (depth > params.min_depth_px) & (depth >= cv2.dilate(depth, _disc(params.peak_distance_px)))
    n_labels, markers = cv2.connectedComponents(peak.astype(np.uint8))
    if n_labels <= 2:
        return []
    parts = watershed(-depth, markers, mask=padded > 0)
    found = []
    for i in range(1, n_labels):
        part = parts == i
        rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        found.append((part[box], (int(columns[0]) - 1, int(rows[0]) - 1)))
    return found


def score(candidate: Candidate, params: ScoreParams) -> float:
    """How much a candidate looks like a nucleus; above 0 it is taken for one."""
    if candidate.edge <= 0 or candidate.density <= 0:
        return -np.inf
    area = log(candidate.area_px)
    return (
        params.bias
        - params.small * max(0.0, log(params.small_area_px) - area)
        - params.large * max(0.0, area - log(params.large_area_px))
        - params.shape * (1 - candidate.solidity)
        + params.edge * log(candidate.edge)
        + params.density * log(candidate.density)
    )


def select(roots: list[Candidate], params: ScoreParams) -> list[Candidate]:
    """The best candidates that do not overlap.

    An object gives way to what it falls into, or is divided into, where that scores better on average.
    """
    chosen = []
    for root in roots:
        chosen += [candidate for value, candidate in _best(root, params)[1] if value > 0]
    return chosen


def _best(candidate: Candidate, params: ScoreParams) -> tuple[float, list[tuple[float, Candidate]]]:
    value = score(candidate, params)
    best = value, [(value, candidate)]
    for group in (candidate.children, candidate.parts):
        # What cannot be a nucleus must not speak for those beside it.
        inner = [one for member in group for one in _best(member, params)[1] if one[0] > -np.inf]
        if inner:
            mean = sum(value for value, _ in inner) / len(inner)
            best = max(best, (mean, inner), key=lambda option: option[0])
    return best


def _disc(radius: int) -> UInt8Array:
    # OpenCV's own ellipse is not the same on its side, and a turned tile would have other nuclei.
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(x**2 + y**2 <= (radius + 0.5) ** 2, dtype=np.uint8)
