"""Bright holes in tissue: which of them are fat vacuoles, and not tears, vessels or glass.

Holes are parted at their necks first, because septa between vacuoles are often broken. A part is a vacuole if it has
the size of one, if it is about as round as one, and if tissue or other vacuoles wall it. Roundness is judged in two
ways. By depth, which is the distance from the wall: in a circle its mean is a third of the radius, and a slit or a
ragged tear of the same area is shallower. And by the ellipse with the same second moments, for wrinkles and remains of
fat in a vacuole lower its depth. The tile's border is no wall, so that half a circle there is as deep as a whole one.

A pixel measures 1 µm.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from app.pipeline.types import BoolArray, Float32Array, Float64Array, Int32Array, Int64Array, UInt8Array

MIN_HOLE_RADIUS = 5.0
"""Radius in µm of the widest circle in the narrowest hole. Narrower gaps belong to the tissue round them."""
NECK = 1.2
"""Two parts of a hole are told apart where each is wider than the neck between them by about this factor."""
FAT_DIAMETERS = (15.0, 130.0)
"""Smallest and largest diameter of a vacuole, µm. Adipocytes of marrow measure about 20 to 120 µm, and a section that
does not pass through the middle of one shows a smaller circle."""
MAX_STRETCH = 1.6
"""Largest area of a vacuole over that of the circle with its mean depth: 1 for a circle, 1.3 for a square, 1.4 for an
ellipse twice as long as wide, 2 for two circles in one hole. A slit has 0.28 times its length over half its width."""
MAX_CUT_STRETCH = 2.4
"""The same for twice the area of a vacuole that the border cuts: 1 for half a circle, up to 2 for nearly a whole
one."""
MIN_FULLNESS = 0.88
"""Least area of a vacuole over that of the ellipse with its second moments: 1 for an ellipse, 0.95 for half a circle or
a rectangle, 0.83 for a triangle, less for what is ragged or branches."""
MAX_ASPECT = 3.0
"""Largest ratio of the axes of that ellipse."""
MAX_OPEN, MAX_OPEN_CUT = 0.25, 0.15
"""Largest share of a vacuole's outline at which something adjoins that is neither tissue nor a vacuole; the same for
one that the border cuts."""
MAX_ADJOINING, MAX_ADJOINING_CUT, MAX_ADJOINING_SMALL = 0.45, 0.3, 0.08
"""Largest share of a vacuole's outline at which anything adjoins that is not tissue; the same for one that the border
cuts, whose outline inside the tile is shorter, and for a small one: tears are strings of small round places."""
SMALL_DIAMETER = 24.0
"""Diameter in µm up to which a vacuole is small in this sense."""
MOST = 0.6
"""A hole is fat as a whole if more than this share of it is vacuoles: the rest lies between their broken septa."""


def find_fat(pale: UInt8Array) -> tuple[BoolArray, BoolArray]:
    """Return which pixels are fat, and which lie in holes of any kind.

    Args:
        pale: (H, W) uint8, 1 where the picture is nearly as bright as glass, else 0.

    Returns:
        Two (H, W) bool; all fat lies in holes.
    """
    if pale.all():  # glass without any wall, from which no distance is defined
        return np.zeros(pale.shape, bool), np.ones(pale.shape, bool)
    depth = np.asarray(cv2.distanceTransform(pale, cv2.DIST_L2, 5), np.float32)
    hole = _reached(depth, MIN_HOLE_RADIUS)
    if not hole.any():
        return hole, hole
    holes = np.asarray(cv2.connectedComponents(hole.view(np.uint8), connectivity=4)[1], np.int32)
    parts = np.where(pale, _part(depth), 0)
    whole, pieces = _Shapes.of(holes, depth), _Shapes.of(np.where(hole, parts, 0), depth)
    # What a small hole is, its neighbours beyond narrow gaps tell.
    fat = np.take(whole.are_round & ~whole.are_small, holes) | np.take(_are_walled(parts, pieces), parts)
    fat &= hole
    vacuoles = 4 * np.bincount(holes[::2, ::2][fat[::2, ::2]], minlength=len(whole.areas))
    return np.asarray(fat | np.take(vacuoles > MOST * whole.areas, holes)), hole


def _reached(depth: Float32Array, radius: float) -> BoolArray:
    """Return the pixels that are covered by circles of this radius that fit into the holes."""
    outside = (depth < radius).astype(np.uint8)
    if outside.all():  # the distance from nothing is not defined
        return np.zeros(depth.shape, bool)
    return np.asarray(cv2.distanceTransform(outside, cv2.DIST_L2, 5) < radius)


def _part(depth: Float32Array) -> Int32Array:
    """Give each pixel the number, from 1, of the core that is nearest to it.

    A core is a place of a hole that is wider than every neck round it by the factor NECK, and holds no such place that
    is wider still. They are sought from the widest to the narrowest, at half the scale, where that takes a quarter of
    the time.
    """
    height, width = depth.shape
    coarse = cv2.resize(depth, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    cores = np.zeros(coarse.shape, bool)
    n_steps = int(np.log(max(float(coarse.max()) / MIN_HOLE_RADIUS, 1)) / np.log(NECK))
    wider = coarse >= MIN_HOLE_RADIUS * NECK ** (n_steps + 1)
    for step in range(n_steps, -1, -1):
        wide = coarse >= MIN_HOLE_RADIUS * NECK**step
        n, places = cv2.connectedComponents(wide.view(np.uint8), connectivity=8)
        is_core = np.zeros(n, bool)
        is_core[places[wider] if step else slice(None)] = True  # of the narrowest holes, every place is a core
        is_core[places[cores]] = False
        is_core[0] = False
        if is_core.any():
            cores |= np.take(is_core, np.asarray(places, np.int32))
        wider = wide
    if not cores.any():  # the holes are too narrow for the coarse scale
        return np.ones(depth.shape, np.int32)
    outside = (~cores).view(np.uint8)
    nearest = cv2.distanceTransformWithLabels(outside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP)[1]
    return np.asarray(cv2.resize(nearest, (width, height), interpolation=cv2.INTER_NEAREST), np.int32)


@dataclass(frozen=True, slots=True)
class _Shapes:
    """Labelled shapes; row i of every array is label i, and row 0 is no shape.

    Attributes:
        areas: (N,) float64, µm².
        are_cut: (N,) bool, whether the tile's border cuts the shape.
        are_round: (N,) bool, whether it has the size and the roundness of a vacuole.
    """

    areas: Float64Array
    are_cut: BoolArray
    are_round: BoolArray

    @property
    def are_small(self) -> BoolArray:
        """(N,) bool, whether the shape has less than the area of a circle of SMALL_DIAMETER."""
        return np.asarray(self.areas * (1 + self.are_cut) <= np.pi / 4 * SMALL_DIAMETER**2)

    @classmethod
    def of(cls, labels: Int32Array, depth: Float32Array) -> _Shapes:
        """Measure the shapes.

        Args:
            labels: (H, W) int32.
            depth: (H, W) float32, distance of each pixel from the wall, µm.
        """
        n = int(labels.max()) + 1
        are_cut = np.zeros(n, bool)
        for border in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
            are_cut[border] = True
        # Every fourth pixel is enough to measure what has 170 pixels or more.
        y, x = np.nonzero(labels[::2, ::2])
        label = labels[::2, ::2][y, x]
        counts = np.maximum(np.bincount(label, minlength=n), 1)

        def mean(values: Float64Array | Float32Array | Int64Array) -> Float64Array:
            return np.asarray(np.bincount(label, values, n) / counts)

        areas = 4.0 * counts
        # To the wall it is half a pixel less than to the centre of the first pixel beyond.
        circles = np.pi * (3 * (mean(depth[::2, ::2][y, x]) - 0.5)) ** 2
        stretch = np.where(are_cut, 2 * areas / MAX_CUT_STRETCH, areas / MAX_STRETCH)
        dx, dy = 2 * (x - mean(x)[label]), 2 * (y - mean(y)[label])
        # A pixel is a square of 2 µm and no point, which adds a third.
        xx, yy, xy = mean(dx * dx) + 1 / 3, mean(dy * dy) + 1 / 3, mean(dx * dy)
        are_full = areas >= MIN_FULLNESS * 4 * np.pi * np.sqrt(np.maximum(xx * yy - xy**2, 0))
        middle, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
        are_long = middle + spread > MAX_ASPECT**2 * (middle - spread)
        are_round = np.where(stretch <= circles, are_full | ~are_cut, are_full & ~are_long)
        # Half of what is cut may be missing; and glass beyond the edge of the tissue is deeper than its area tells.
        smallest, largest = np.pi / 4 * np.square(FAT_DIAMETERS)
        are_round &= (areas * (1 + are_cut) >= smallest) & (np.maximum(areas, circles) <= largest)
        are_round[0] = False
        return cls(areas, are_cut, are_round)


def _are_walled(parts: Int32Array, shapes: _Shapes) -> BoolArray:
    """Return which parts are round, and walled by tissue or by others that are: (N,) bool.

    Args:
        parts: (H, W) int32, 0 in tissue; narrow gaps belong to a part, too.
        shapes: of the parts.
    """
    n = len(shapes.areas)
    sides = []
    for here, there in ((parts[:, :-1], parts[:, 1:]), (parts[:-1], parts[1:])):
        edge = np.flatnonzero(here != there)
        one, other = here.ravel()[edge], there.ravel()[edge]
        sides += [(one, other), (other, one)]
    inner, outer = (np.concatenate(labels) for labels in zip(*sides, strict=True))
    outline = np.bincount(inner, minlength=n)
    inner, outer = inner[outer > 0], outer[outer > 0]
    limits = np.where(shapes.are_small, MAX_ADJOINING_SMALL, np.where(shapes.are_cut, MAX_ADJOINING_CUT, MAX_ADJOINING))
    found = shapes.are_round & (np.bincount(inner, minlength=n) <= limits * outline)
    found &= np.bincount(inner, ~shapes.are_round[outer], n) <= MAX_OPEN * outline
    # Of glass that is seen along the border, the end looks like a vacuole, and what it adjoins does not.
    return np.asarray(found & (~shapes.are_cut | (np.bincount(inner, ~found[outer], n) <= MAX_OPEN_CUT * outline)))
