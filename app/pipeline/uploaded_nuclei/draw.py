"""Nuclei of other programs, drawn at the scale at which a tile is analysed.

A pixel belongs to a nucleus if its centre lies within the outline. The outlines of our own GeoJSON pass every centre at
a distance of at least a third of a pixel, so that drawing them gives the very pixels that they were made of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from app.pipeline.errors import TooManyNuclei
from app.pipeline.nuclei.measure import measure, select_nuclei
from app.pipeline.nuclei.outlines import polygons
from app.pipeline.nuclei.run_lengths import RunLengths
from app.pipeline.types import BoolArray, Float64Array, Int32Array, Int64Array, Nuclei

MAX_COVER = 8
"""The largest sum of the areas of all nuclei, over that of the tile: a tenth is usual, and nuclei may overlap."""
MAX_LENGTH_PX = 512
"""Longest side of the box round a nucleus, px at the analysed scale; what is longer is a region."""
DECIMALS = 6
"""Decimals of a px that count."""
MAX_PIECES = 2**17
"""Largest number of pieces of a label image that is enlarged: twice as many as it may have nuclei."""
SPARE = 10_000
"""Runs of pixels that the nuclei of a tile may have, besides one for each of its pixels."""


@dataclass(frozen=True, slots=True)
class Outlines:
    """N polygons with their holes.

    Attributes:
        points: (V, 2) float64 x, y of all rings, one after the other, in px; pixel i covers [i, i + 1). No ring repeats
            its first point at its end.
        lengths: (R,) int64 number of points of each ring.
        owners: (R,) int64 polygon of each ring, 0…N − 1, rising.
        number: N.
    """

    points: Float64Array
    lengths: Int64Array
    owners: Int64Array
    number: int

    def moved(self, scale: Float64Array, origin: Float64Array) -> Outlines:
        """Return the outlines in another frame.

        Args:
            scale: (2,) float64 px of that frame per px of this one, along x and y.
            origin: (2,) float64 x, y of that frame's corner, in px of this one.
        """
        # The last digits of a float depend on the frame, and a point on a pixel's centre may lie in it or not.
        points = ((self.points - origin) * scale).round(DECIMALS)
        return Outlines(points, self.lengths, self.owners, self.number)

    def only(self, kept: BoolArray) -> Outlines:
        """Return some of the polygons, in the same order."""
        of_ring = kept[self.owners]
        points = self.points[np.repeat(of_ring, self.lengths)]
        return Outlines(points, self.lengths[of_ring], (np.cumsum(kept) - 1)[self.owners[of_ring]], int(kept.sum()))

    def boxes(self) -> Float64Array:
        """Return the (N, 4) boxes x0, y0, x1, y1 round the polygons."""
        of_point = np.repeat(self.owners, self.lengths)
        low, high = np.full((self.number, 2), np.inf), np.full((self.number, 2), -np.inf)
        np.minimum.at(low, of_point, self.points)
        np.maximum.at(high, of_point, self.points)
        return np.hstack([low, high])


@dataclass(frozen=True, slots=True)
class DrawnNuclei:
    """What became of the nuclei that were to be drawn.

    Attributes:
        nuclei: those that were kept, in reading order of their topmost pixel.
        numbers: (n,) int64 number of each of them among all: 1…N for polygons.
        outside: how many lie outside the tile.
        large: how many are longer than MAX_LENGTH_PX, or hold the whole tile.
        covered: how many have lost half of their pixels or more to nuclei before them.
        in_pieces: (n,) bool, whether each of them had several pieces, of which only the largest is kept.
        pieces: how many pieces are large enough for a nucleus, those included that were not kept.
    """

    nuclei: Nuclei
    numbers: Int64Array
    outside: int
    large: int
    covered: int
    in_pieces: BoolArray
    pieces: int


def draw_outlines(outlines: Outlines, shape: tuple[int, ...], min_area_px: int) -> DrawnNuclei:
    """Draw polygons, each of which is a nucleus.

    A polygon that crosses itself has the pixels round which it winds an odd number of times. Where polygons overlap,
    the pixels belong to the first of them; one that loses half of its pixels or more is left out.

    Args:
        outlines: the polygons, in px of the analysed tile.
        shape: H, W of the analysed tile.
        min_area_px: area of the smallest nucleus; half of it where the border cuts the nucleus.

    Raises:
        TooManyNuclei: the polygons are far too large for nuclei, or have far too many corners.
    """
    is_outside = _outside(outlines, shape)
    is_large = ~is_outside & _are_regions(outlines.boxes(), shape)
    # A region that is no nucleus would cover all nuclei in it.
    drawable = np.flatnonzero(~is_outside & ~is_large)
    rle, owners = _runs(outlines.only(~is_outside & ~is_large), shape)
    cover = rle.lengths.sum() / (shape[0] * shape[1])
    if cover > MAX_COVER:
        raise TooManyNuclei(
            f"The nuclei together cover {cover:.0f} times the area of the tile, more than {MAX_COVER}; upload each "
            "nucleus once, and no outlines of regions."
        )
    numbers, n_covered = _painted(rle, owners, shape)
    drawn = draw_numbers(numbers, min_area_px)
    return replace(
        drawn,
        numbers=drawable[drawn.numbers - 1] + 1,
        outside=int(is_outside.sum()),
        large=int(is_large.sum()),
        covered=n_covered,
    )


def enlarged(numbers: Int32Array, shape: tuple[int, ...]) -> Int32Array:
    """Return a label image at a finer scale, drawn along the outlines of its pieces, whose corners are cut off.

    Steps as large as the old pixels would make the cells unlike those of other tiles.

    Args:
        numbers: (H, W) int32, 0 = background.
        shape: H, W of the result.

    Raises:
        TooManyNuclei: there are more than MAX_PIECES pieces.
    """
    pieces = _pieces(numbers)
    of_piece = np.zeros(int(pieces.max(initial=0)) + 1, np.int32)
    of_piece[pieces.ravel()] = numbers.ravel()
    if of_piece.size > MAX_PIECES:
        raise TooManyNuclei(f"The label image has {of_piece.size - 1} separate pieces; at most {MAX_PIECES} are drawn.")
    found = polygons(measure(pieces))
    rings = [ring[:-1] for polygon in found for ring in polygon]
    outlines = Outlines(
        points=np.concatenate([np.zeros((0, 2)), *rings]),
        lengths=np.array([len(ring) for ring in rings], np.int64),
        owners=np.repeat(np.arange(len(found)), [len(polygon) for polygon in found]),
        number=len(found),
    )
    scale = np.array([shape[1] / numbers.shape[1], shape[0] / numbers.shape[0]])
    return of_piece[_painted(*_runs(outlines.moved(scale, np.zeros(2)), shape), shape)[0]]


def draw_numbers(numbers: Int32Array, min_area_px: int) -> DrawnNuclei:
    """Take the pixels of each number for a nucleus; of several pieces only the largest is kept.

    Args:
        numbers: (H, W) int32, 0 = background; any other numbers, which need not follow each other.
        min_area_px: area of the smallest nucleus; half of it where the border cuts the nucleus.
    """
    pieces = _pieces(numbers)
    areas = np.bincount(pieces.ravel())
    areas[0] = 0
    owners = np.zeros(areas.size, np.int64)
    owners[pieces.ravel()] = numbers.ravel()
    order = np.lexsort([-areas, owners])
    is_largest = np.zeros(areas.size, bool)
    is_largest[order[np.diff(owners[order], prepend=-(2**40)) != 0]] = True
    is_largest[0] = False
    # Pieces are numbered in reading order of their topmost pixel.
    labels = np.where(is_largest, np.cumsum(is_largest), 0).astype(np.int32)
    nuclei = measure(labels[pieces])
    is_large = _are_regions(nuclei.bboxes, numbers.shape)
    kept = ~is_large & (nuclei.areas_px >= np.where(nuclei.touches_border, min_area_px / 2, min_area_px))
    numbers_kept = owners[is_largest][kept]
    all_numbers, n_pieces = np.unique(owners[1:], return_counts=True)
    return DrawnNuclei(
        nuclei=select_nuclei(nuclei, kept),
        numbers=numbers_kept,
        outside=0,
        large=int(is_large.sum()),
        covered=0,
        in_pieces=np.isin(numbers_kept, all_numbers[n_pieces > 1]),
        pieces=int((areas >= min_area_px).sum()),
    )


def _pieces(numbers: Int32Array) -> Int32Array:
    """Return (H, W) int32, the connected pieces of each number, in reading order of their topmost pixel."""
    # scikit-image is slow to import, and only this needs it.
    from skimage.measure import label as label_pieces

    return np.asarray(label_pieces(numbers, background=0, connectivity=2), dtype=np.int32)


def _painted(rle: RunLengths, owners: Int64Array, shape: tuple[int, ...]) -> tuple[Int32Array, int]:
    """Give each pixel to the first polygon that has it, and return their numbers, from 1, in a picture (H, W).

    Returns:
        The picture, and how many polygons were left out because half of their pixels or more were not free.
    """
    numbers, n_covered = np.zeros(shape[0] * shape[1], np.int32), 0
    of_pixel = np.repeat(owners, rle.lengths)
    # The pixels of each polygon stand together, in the order of the polygons.
    first = np.flatnonzero(np.diff(of_pixel, prepend=-1))
    for owner, places in zip(of_pixel[first].tolist(), np.split(rle.places(), first)[1:], strict=True):
        free = places[numbers[places] == 0]
        if 2 * len(free) > len(places):
            numbers[free] = owner + 1
        else:
            n_covered += 1
    return numbers.reshape(shape), n_covered


def _runs(outlines: Outlines, shape: tuple[int, ...]) -> tuple[RunLengths, Int64Array]:
    """Return the runs of pixels whose centres lie in each polygon, and (R,) the polygon of each run, rising.

    Within a row, the pixels of a polygon lie between its first and second crossing of the line through their centres,
    between its third and fourth, and so on. Each ring crosses such a line an even number of times.
    """
    height, width = shape[:2]
    begin, end = outlines.points, _following(outlines)
    low, high = np.minimum(begin[:, 1], end[:, 1]), np.maximum(begin[:, 1], end[:, 1])
    first, after = (np.ceil(y - 0.5).clip(0, height).astype(np.int64) for y in (low, high))
    counts = after - first
    if counts.sum() > height * width + SPARE:
        raise TooManyNuclei(
            f"The outlines of the nuclei cross the rows of the tile {counts.sum()} times, which is more often than it "
            "has pixels; simplify them."
        )
    edge = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts - first, counts)
    x0, y0, x1, y1 = begin[edge, 0], begin[edge, 1], end[edge, 0], end[edge, 1]
    crossing = x0 + (row + 0.5 - y0) * (x1 - x0) / (y1 - y0)
    column = np.ceil(crossing.round(DECIMALS) - 0.5).clip(0, width).astype(np.int64)
    owner = np.repeat(outlines.owners, outlines.lengths)[edge]
    order = np.lexsort([column, row, owner])
    starts, ends = (row[order] * width + column[order]).reshape(-1, 2).T
    some = starts < ends
    return RunLengths(starts[some], ends[some]), owner[order][::2][some]


def _following(outlines: Outlines) -> Float64Array:
    """Return (V, 2) the point that follows each point on its ring."""
    following = np.roll(outlines.points, -1, axis=0)
    lasts = np.cumsum(outlines.lengths) - 1
    following[lasts] = outlines.points[lasts - outlines.lengths + 1]
    return following


def _are_regions(boxes: Float64Array | Int64Array, shape: tuple[int, ...]) -> BoolArray:
    """Return (N,) bool, whether (N, 4) boxes x0, y0, x1, y1 are larger than nuclei are, or hold the whole tile."""
    low, high = boxes[:, :2], boxes[:, 2:]
    holds_tile = (low <= 0).all(axis=1) & (high >= (shape[1], shape[0])).all(axis=1)
    return np.asarray(holds_tile | ((high - low).max(axis=1) > MAX_LENGTH_PX))


def _outside(outlines: Outlines, shape: tuple[int, ...]) -> BoolArray:
    """(N,) bool, whether no point of a polygon's bounding box lies within the tile."""
    x0, y0, x1, y1 = outlines.boxes().T
    return np.asarray((x1 <= 0) | (y1 <= 0) | (x0 >= shape[1]) | (y0 >= shape[0]))
