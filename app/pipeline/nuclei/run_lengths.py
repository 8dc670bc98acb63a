"""Run lengths: masks as unbroken runs of pixels within rows, by which objects of many levels are found at once.

There are about a hundred times as few runs as pixels. A picture of ranks stands for a stack of masks, one for each
level: a pixel is in the masks of the levels 1…rank. The place of a pixel is its index in the flattened stack,
`level · H · W + y · W + x`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from app.pipeline.types import Int64Array, UInt8Array


@dataclass(frozen=True, slots=True)
class RunLengths:
    """R runs of pixels.

    Attributes:
        starts: (R,) int64 place of each run's first pixel.
        ends: (R,) int64 place after its last pixel.
    """

    starts: Int64Array
    ends: Int64Array

    def __len__(self) -> int:
        """Number of runs."""
        return int(self.starts.size)

    def __getitem__(self, chosen: Int64Array | np.ndarray) -> RunLengths:
        """The runs at these indices, or where this mask holds."""
        return RunLengths(self.starts[chosen], self.ends[chosen])

    @property
    def lengths(self) -> Int64Array:
        """(R,) int64 px."""
        return self.ends - self.starts

    def places(self) -> Int64Array:
        """Return the place of every pixel, run by run."""
        return ranges(self.starts, self.ends)


def ranges(starts: Int64Array, ends: Int64Array) -> Int64Array:
    """Return the numbers from each start up to its end, one range after the other."""
    lengths = ends - starts
    before = np.cumsum(lengths) - lengths
    return np.asarray(np.arange(lengths.sum()) + np.repeat(starts - before, lengths))


def stack_places(places: Int64Array, low: UInt8Array, high: UInt8Array, size: int) -> Int64Array:
    """Repeat each pixel of a picture for every level above `low` up to `high`.

    Args:
        places: (P,) int64 places in the picture, rising.
        low: (P,) uint8.
        high: (P,) uint8, at least `low`.
        size: number of pixels of the picture.

    Returns:
        Places in the stack, rising.
    """
    counts = high.astype(np.int64) - low
    levels = ranges(low.astype(np.int64) + 1, high.astype(np.int64) + 1).astype(np.uint8)
    # A stable sort of bytes is a radix sort.
    order = np.argsort(levels, kind="stable")
    return np.repeat(places, counts)[order] + levels[order].astype(np.int64) * size


def encode_ranks(ranks: UInt8Array) -> RunLengths:
    """Return the run lengths of the stack of masks that a picture of ranks stands for, in rising order.

    Args:
        ranks: (H, W) uint8. A run continues from the end of a row at the start of the next where both are in the mask,
            so the frame of the picture must be all in the mask or all out of it.
    """
    flat = np.zeros(ranks.size + 2, np.uint8)
    flat[1:-1] = ranks.ravel()
    at = np.flatnonzero(flat[1:] != flat[:-1])
    before, after = flat[at], flat[at + 1]
    rises = after > before
    return RunLengths(
        stack_places(at[rises], before[rises], after[rises], ranks.size),
        stack_places(at[~rises], after[~rises], before[~rises], ranks.size),
    )


@dataclass(frozen=True, slots=True)
class Components:
    """Connected components of runs, in the order of their first pixel.

    Attributes:
        number: how many there are.
        of_run: (R,) component of each run.
        holes: (number,) int64, how many holes each has.
    """

    number: int
    of_run: np.ndarray
    holes: Int64Array


def connect(rle: RunLengths, width: int, *, diagonal: bool) -> Components:
    """Connect the runs of neighbouring rows.

    Args:
        rle: run lengths of a picture or of a stack, in rising order.
        width: length of a row, px.
        diagonal: whether pixels that share only a corner are connected.
    """
    # Both the starts and the ends of runs are sorted, so those that touch a run from below are neighbours in the list.
    first = np.searchsorted(rle.ends, rle.starts + width, side="left" if diagonal else "right")
    last = np.searchsorted(rle.starts, rle.ends + width, side="right" if diagonal else "left")
    pointers = np.concatenate([[0], np.cumsum(last - first)])
    touching = csr_array((np.ones(pointers[-1], np.uint8), ranges(first, last), pointers), shape=(len(rle), len(rle)))
    number, of_run = connected_components(touching, directed=False)
    # A graph of runs has one cycle for every hole: edges − nodes + 1 of them (Euler).
    edges = np.bincount(of_run, weights=last - first, minlength=number).astype(np.int64)
    return Components(number, of_run, edges - np.bincount(of_run, minlength=number) + 1)


def fill_holes(ranks: UInt8Array, max_hole_px: int) -> UInt8Array:
    """Fill the small holes of each level. The background round the objects is no hole, however small the tile.

    Args:
        ranks: (H, W) uint8, 0 on the frame.
        max_hole_px: size of the largest hole that is filled.

    Returns:
        (H, W) uint8, nowhere below `ranks`.
    """
    top = int(ranks.max(initial=0))
    # Level i of the inverted picture is what is not in level top + 1 − i.
    rle = encode_ranks(top - ranks)
    gaps = connect(rle, ranks.shape[1], diagonal=False)
    is_hole = np.bincount(gaps.of_run, weights=rle.lengths, minlength=gaps.number) <= max_hole_px
    is_hole[gaps.of_run[rle.starts % ranks.size == 0]] = False
    levels, places = np.divmod(rle[is_hole[gaps.of_run]].places(), ranks.size)
    filled = ranks.ravel().copy()
    np.maximum.at(filled, places, (top + 1 - levels).astype(np.uint8))
    return filled.reshape(ranks.shape)


def hull_areas(owners: Int64Array, rows: Int64Array, starts: Int64Array, ends: Int64Array, number: int) -> np.ndarray:
    """Return the areas of the convex hulls of objects, as polygons through the centres of pixels.

    Args:
        owners: (R,) int64 object of each run, rising.
        rows: (R,) int64 row of each run, rising within an object.
        starts: (R,) int64 column of its first pixel, rising within a row.
        ends: (R,) int64 column after its last pixel.
        number: number of objects.

    Returns:
        (number,) float64 px².
    """
    new = (np.diff(owners, prepend=-1) != 0) | (np.diff(rows, prepend=-1) != 0)
    lefts, rights = np.flatnonzero(new), np.flatnonzero(np.append(new, True)[1:])
    # The hull lies between the convex envelope of the left ends and, mirrored, that of the right ends.
    chain = np.concatenate([owners[lefts], owners[lefts] + number])
    row = np.tile(rows[lefts], 2)
    side = np.concatenate([starts[lefts], 1 - ends[rights]])
    while True:
        steps, rises = np.diff(row), np.diff(side)
        inner = (chain[2:] == chain[:-2]) & (rises[:-1] * steps[1:] >= rises[1:] * steps[:-1])
        if not inner.any():
            break
        keep = np.concatenate([[True], ~inner, [True]])
        chain, row, side = chain[keep], row[keep], side[keep]
    same = chain[1:] == chain[:-1]
    trapezia = np.where(same, (side[1:] + side[:-1]) * np.diff(row), 0) / 2
    return -np.bincount(chain[1:] % number, weights=trapezia, minlength=number)
