"""Nuclei → polygons round their pixels, by marching squares (Lorensen and Cline 1987)."""

from __future__ import annotations

import numpy as np
from skimage.measure import find_contours

from app.pipeline.types import BoolArray, Float64Array, Nuclei

Ring = Float64Array
"""(V, 2) float64 x, y, the first point once more at the end."""


def rings(nuclei: Nuclei) -> list[list[Ring]]:
    """The outer ring of every nucleus, then those of its holes.

    Unlike `contours`, which run through the centres of the outermost pixels, they run along the edges of the pixels, so
    that even a single pixel has an area: that of the nucleus, but for the corners that are cut. They never cross or
    touch themselves or each other.

    Returns:
        For each nucleus its rings, in px with the origin at the corner of the first pixel; outer rings have a positive
        area by the shoelace formula, holes a negative one (RFC 7946 §3.1.6).
    """
    found = []
    for i, (x0, y0, x1, y1) in enumerate(nuclei.bboxes, start=1):
        inside = nuclei.labels[y0:y1, x0:x1] == i
        found.append([ring + np.array([x0, y0]) for ring in _trace(inside)])
    return found


def _trace(inside: BoolArray) -> list[Ring]:
    # Background all round closes what the box cuts; its row and column come off with the half pixel of the corner.
    lines = find_contours(np.pad(inside, 1).astype(np.float64), 0.5, fully_connected="high")
    traced = [_without_midpoints(line[:, ::-1] - 0.5) for line in lines]
    areas = [_signed_area(ring) for ring in traced]
    outer = int(np.argmax(np.abs(areas)))
    sign = np.sign(areas[outer])
    holes = [i for i in range(len(traced)) if np.sign(areas[i]) != sign]
    return [traced[i] if sign > 0 else traced[i][::-1] for i in (outer, *holes)]


def _without_midpoints(ring: Ring) -> Ring:
    """Leave out the points between others on one line."""
    points = ring[:-1]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    kept = points[turns]
    return np.concatenate([kept, kept[:1]])


def _signed_area(ring: Ring) -> float:
    x, y = ring.T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)
