"""The convex hulls of nuclei, all of them at once."""

from __future__ import annotations

import cv2
import numpy as np

from app.pipeline.measure.stretches import Stretches
from app.pipeline.nuclei.run_lengths import ranges
from app.pipeline.types import BoolArray, Float64Array, Int32Array, Int64Array


class Hulls:
    """The convex hulls of N nuclei, through the centres of their outermost pixels.

    A nucleus is made of pixels and not of their centres: where it matters, the hull is widened to the middles of the
    pixels' outer sides, half a pixel farther out along x and along y.

    Args:
        outlines: N ≥ 1 arrays (V, 2) int32 of pixels x, y.
    """

    def __init__(self, outlines: list[Int32Array]) -> None:
        # Corners are numbered along the outline, so that the points between two of them lie below one side.
        corners = [np.sort(cv2.convexHull(outline, returnPoints=False)[:, 0]) for outline in outlines]
        self._of_outline = Stretches.of_counts(np.array([len(outline) for outline in outlines]))
        self._of_hull = Stretches.of_counts(np.array([len(of_hull) for of_hull in corners]))
        self._at = np.concatenate(corners) + np.repeat(self._of_outline.first, self._of_hull.counts)
        self._points = np.concatenate(outlines).astype(np.float64).T
        self._corners = self._points[:, self._at]
        following = np.arange(1, len(self._at) + 1)
        following[self._of_hull.first + self._of_hull.counts - 1] = self._of_hull.first
        self._sides = self._corners[:, following] - self._corners
        self._doubled_area = np.abs(self._of_hull.sums(_cross(self._corners, self._corners[:, following])))

    @property
    def is_line(self) -> BoolArray:
        """(N,) bool, whether all pixels lie on one line."""
        return np.asarray(self._doubled_area == 0)

    def pixel_counts(self) -> Float64Array:
        """Return (N,) how many pixels have their centres in the hull or on it (Pick 1899)."""
        steps = self._sides.astype(np.int64)
        on_outline = self._of_hull.sums(np.gcd(steps[0], steps[1]))
        return (self._doubled_area + on_outline) / 2 + 1

    def diameters(self) -> tuple[Float64Array, Float64Array]:
        """Return (N,) the longest and the shortest diameter (Feret) of the widened hulls, px.

        The longest is that between two points, the shortest that between two parallel lines. Of a polygon, it is across
        one of its sides, and widening adds diagonal ones.
        """
        side, corner, of_side = self._pairs()
        x, y = self._corners
        dx, dy = x[corner] - x[side], y[corner] - y[side]
        # Two middles of sides are farther apart than the corners by one pixel, either along x or along y.
        squared = dx * dx + dy * dy + 2 * np.maximum(np.abs(dx), np.abs(dy)) + 1
        longest = np.sqrt(self._of_hull.largest(of_side.largest(squared)))
        along, down = self._sides
        # All corners lie on the same side of a side, and widening moves both lines.
        across = of_side.largest(np.abs(along[side] * dy - down[side] * dx))
        widths = (across + np.maximum(np.abs(along), np.abs(down))) / self._lengths()
        widths[np.isinf(self._lengths())] = np.inf
        return longest, np.minimum(self._of_hull.smallest(widths), self._diagonal_widths())

    def depths(self) -> tuple[Float64Array, Stretches]:
        """Return how far below its hull each point of the outlines lies, px.

        Returns:
            (P,) float64, outline by outline; and which points belong to which outline.
        """
        owners = self._of_outline.owners()
        before = np.searchsorted(self._at, np.arange(self._points.shape[1]), side="right") - 1
        # Before the first corner of an outline lies the side that closes its hull.
        side = np.where(before < self._of_hull.first[owners], before + self._of_hull.counts[owners], before)
        below = _cross(self._sides[:, side], self._points - self._corners[:, side])
        return np.abs(below) / self._lengths()[side], self._of_outline

    def _lengths(self) -> Float64Array:
        """Return the lengths of all sides; infinity for the side of a hull that is a single point."""
        length = np.hypot(*self._sides)
        return np.where(length > 0, length, np.inf)

    def _pairs(self) -> tuple[Int64Array, Int64Array, Stretches]:
        """Return every pair of a side and a corner of the same hull; and which pairs belong to which side."""
        owners = self._of_hull.owners()
        first, counts = self._of_hull.first[owners], self._of_hull.counts[owners]
        return np.repeat(np.arange(len(owners)), counts), ranges(first, first + counts), Stretches.of_counts(counts)

    def _diagonal_widths(self) -> Float64Array:
        """Return (N,) the smaller of the two widths across a diagonal, px."""
        x, y = self._corners
        spreads = [self._of_hull.largest(along) - self._of_hull.smallest(along) for along in (x + y, x - y)]
        return np.asarray((np.minimum(*spreads) + 1) / np.sqrt(2))


def _cross(a: Float64Array, b: Float64Array) -> Float64Array:
    return np.asarray(a[0] * b[1] - a[1] * b[0])
