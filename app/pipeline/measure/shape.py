"""Size and shape of every nucleus: from its pixels, and from the convex hull of its outline."""

from __future__ import annotations

import cv2
import numpy as np

from app.pipeline.measure.pixels import MIN_PIXELS, NuclearPixels
from app.pipeline.measure.table import CONCAVITY_UM, SHAPE
from app.pipeline.types import BoolArray, Float64Array, Int32Array, Nuclei

PIXEL_MOMENT = 1 / 12
"""Second moment of a pixel, a square, about its own centre: a nucleus is made of squares and not of points."""
SIDEWAYS = np.array([1, -1])
PERIMETER_WEIGHTS = np.zeros(50)
PERIMETER_WEIGHTS[[5, 7, 15, 17, 25, 27]] = 1
PERIMETER_WEIGHTS[[21, 33]] = np.sqrt(2)
PERIMETER_WEIGHTS[[13, 23]] = (1 + np.sqrt(2)) / 2
"""Length of the outline at an outermost pixel, by 1 + 2 · (outermost ones beside it) + 10 · (those at its corners), in
px (Benkrid and Crookes 2000)."""
EVERY_PIXEL = [i for i, measurement in enumerate(SHAPE) if measurement.name in ("area", "equivalent_diameter")]
"""Columns that mean something for a nucleus of any number of pixels."""


def measure_shape(nuclei: Nuclei, pixels: NuclearPixels, outlines: list[Int32Array], mpp: float) -> Float64Array:
    """Measure the size and shape of nuclei.

    Args:
        nuclei: N nuclei.
        pixels: their pixels.
        outlines: see `nuclei.outlines.contours`.
        mpp: µm per pixel.

    Returns:
        (N, columns of SHAPE) float64; NaN for the shape of a nucleus of too few pixels or as thin as a line.
    """
    if not len(nuclei):
        return np.zeros((0, len(SHAPE)))
    area = nuclei.areas_px.astype(np.float64)
    major, minor = _axes(nuclei, pixels)
    perimeter = _perimeters(pixels)
    hulls = Hulls(outlines)
    diameter = 2 * np.sqrt(area / np.pi)
    depth, concavities = hulls.concavities(outlines, CONCAVITY_UM / mpp)
    with np.errstate(divide="ignore"):
        circularity = np.minimum(4 * np.pi * area / perimeter**2, 1)
    columns = {
        "area": area * mpp**2,
        "perimeter": perimeter * mpp,
        "equivalent_diameter": diameter * mpp,
        "major_axis": major * mpp,
        "minor_axis": minor * mpp,
        "feret_max": hulls.longest_diameters() * mpp,
        "feret_min": hulls.shortest_diameters() * mpp,
        "eccentricity": np.sqrt((1 - (minor / major) ** 2).clip(0)),
        "circularity": circularity,
        "solidity": area / hulls.pixel_counts(),
        "lobulation": depth / diameter,
        "concavities": concavities,
    }
    values = np.column_stack([columns[measurement.name] for measurement in SHAPE])
    shapeless = np.flatnonzero(_shapeless(nuclei, outlines))
    kept = values[np.ix_(shapeless, EVERY_PIXEL)]
    values[shapeless] = np.nan
    values[np.ix_(shapeless, EVERY_PIXEL)] = kept
    return values


def _shapeless(nuclei: Nuclei, outlines: list[Int32Array]) -> BoolArray:
    """Return which nuclei have too few pixels, or all of them on one line."""
    is_line = [np.linalg.matrix_rank(line - line[0]) < 2 for line in outlines]
    return np.asarray((nuclei.areas_px < MIN_PIXELS) | is_line)


def _axes(nuclei: Nuclei, pixels: NuclearPixels) -> tuple[Float64Array, Float64Array]:
    """Return the axes of the ellipses that have the same second moments, px."""
    stretches = pixels.stretches
    y, x = np.divmod(pixels.places, pixels.row)
    centre = nuclei.centroids + pixels.frame
    dx = x - np.repeat(centre[:, 0], stretches.counts)
    dy = y - np.repeat(centre[:, 1], stretches.counts)
    xx, yy = (stretches.means(d * d) + PIXEL_MOMENT for d in (dx, dy))
    xy = stretches.means(dx * dy)
    spread = np.sqrt((xx - yy) ** 2 + 4 * xy**2)
    return 4 * np.sqrt((xx + yy + spread) / 2), 4 * np.sqrt(((xx + yy - spread) / 2).clip(0))


def _perimeters(pixels: NuclearPixels) -> Float64Array:
    """Return the lengths of the outlines, px."""
    outermost = pixels.outermost()
    marked = np.zeros(pixels.labels.size, np.int32)
    places = pixels.places[outermost]
    marked[places] = owners = pixels.labels.ravel()[places]
    beside = sum(marked[places + step] == owners for step in (1, -1, pixels.row, -pixels.row))
    corners = sum(marked[places + across * pixels.row + along] == owners for across in SIDEWAYS for along in SIDEWAYS)
    lengths = PERIMETER_WEIGHTS[1 + 2 * beside + 10 * corners]
    return np.bincount(owners - 1, weights=lengths, minlength=len(pixels.stretches))


class Hulls:
    """The convex hulls of nuclei, through the centres of their outermost pixels.

    Args:
        outlines: N arrays (V, 2) int32 of pixels x, y.

    Attributes:
        corners: (N, V, 2) float64; the last corner of a hull is repeated, so that all have the same number.
    """

    def __init__(self, outlines: list[Int32Array]) -> None:
        hulls = [cv2.convexHull(outline)[:, 0] for outline in outlines]
        counts = np.array([len(hull) for hull in hulls])
        first = np.cumsum(counts) - counts
        at = np.minimum(np.arange(counts.max()), counts[:, None] - 1) + first[:, None]
        self.corners = np.concatenate(hulls).astype(np.float64)[at]
        self._ahead = np.roll(self.corners, -1, axis=1)

    def pixel_counts(self) -> Float64Array:
        """Return (N,) how many pixels have their centres in the hull, its outline included (Pick 1899)."""
        x, y = np.moveaxis(self.corners, 2, 0)
        x1, y1 = np.moveaxis(self._ahead, 2, 0)
        doubled = np.abs((x * y1 - x1 * y).sum(axis=1))
        on_outline = np.gcd((x1 - x).astype(np.int64), (y1 - y).astype(np.int64)).sum(axis=1)
        return np.asarray((doubled + on_outline) / 2 + 1)

    def longest_diameters(self) -> Float64Array:
        """Return (N,) the longest distance between two middles of the pixels' sides, px."""
        dx, dy = np.abs(self.corners[:, :, None] - self.corners[:, None]).transpose(3, 0, 1, 2)
        # Two opposite middles of sides lie half a pixel farther out, both along x or both along y.
        squared = np.maximum((dx + 1) ** 2 + dy**2, dx**2 + (dy + 1) ** 2)
        return np.asarray(np.sqrt(squared.max(axis=(1, 2))))

    def shortest_diameters(self) -> Float64Array:
        """Return (N,) the smallest distance between parallel lines that hold all middles of the pixels' sides, px."""
        along = self._ahead - self.corners
        diagonals = np.broadcast_to([[1.0, 1.0], [1.0, -1.0]], (len(along), 2, 2))
        # The smallest width of a polygon is across one of its sides; the sides' middles add diagonal ones.
        along = np.concatenate([along, diagonals], axis=1)
        length = np.linalg.norm(along, axis=2)
        with np.errstate(invalid="ignore", divide="ignore"):
            across = np.stack([-along[..., 1], along[..., 0]], axis=2) / length[..., None]
        spread = np.einsum("nsd,nvd->nsv", across, self.corners)
        widths = spread.max(axis=2) - spread.min(axis=2) + np.abs(across).max(axis=2)
        return np.asarray(np.nanmin(widths, axis=1))

    def concavities(self, outlines: list[Int32Array], min_depth: float) -> tuple[Float64Array, Float64Array]:
        """Measure how far outlines run below their hulls.

        Args:
            outlines: the same as the hulls are of.
            min_depth: px; a concavity that is as deep as this counts.

        Returns:
            (N,) depth of the deepest concavity in px, and (N,) how many count.
        """
        counts = np.array([len(outline) for outline in outlines])
        owners = np.repeat(np.arange(len(outlines)), counts)
        points = np.concatenate(outlines)
        along = self._ahead - self.corners
        length = np.linalg.norm(along, axis=2)
        with np.errstate(invalid="ignore", divide="ignore"):
            across = np.stack([-along[..., 1], along[..., 0]], axis=2) / length[..., None]
        offset = (across * self.corners).sum(axis=2)
        distance = np.abs(np.einsum("psd,pd->ps", across[owners], points) - offset[owners])
        depth = np.fmin.reduce(distance, axis=1)
        depth[np.isnan(depth)] = 0
        first = np.cumsum(counts) - counts
        deepest = np.maximum.reduceat(depth, first)
        deep = depth >= min_depth
        before = np.roll(deep, 1)
        before[first] = deep[first + counts - 1]
        begins = np.add.reduceat((deep & ~before).astype(np.float64), first)
        return deepest, begins
