"""Runs: unbroken pieces of rows, a hundredth of the pixels, by which objects of many levels are found at once.

A picture of ranks stands for a stack of masks, one for each level: a pixel is in the masks of the levels 1…rank. A
pixel is named by its place in the flattened stack, `level * H * W + y * W + x`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from app.pipeline.types import Int64Array, UInt8Array


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of a stack of masks in rising order.

    Attributes:
        starts: (R,) int64 place of the first pixel.
        ends: (R,) int64 place after the last pixel.
    """

    starts: Int64Array
    ends: Int64Array

    def __len__(self) -> int:
        """Number of runs."""
        return int(self.starts.size)

    def __getitem__(self, chosen: Int64Array | np.ndarray) -> Runs:
        """The runs of these indices, or where this mask holds."""
        return Runs(self.starts[chosen], self.ends[chosen])

    @property
    def lengths(self) -> Int64Array:
        """(R,) int64 px."""
        return self.ends - self.starts

    def places(self) -> Int64Array:
        """The place of every pixel, run by run."""
        return ranges(self.starts, self.ends)


def ranges(starts: Int64Array, ends: Int64Array) -> Int64Array:
    """The numbers from each start up to its end, one range after the other."""
    lengths = ends - starts
    before = np.cumsum(lengths) - lengths
    return np.asarray(np.arange(lengths.sum()) + np.repeat(starts - before, lengths))


def stack_places(places: Int64Array, low: UInt8Array, high: UInt8Array, size: int) -> Int64Array:
    """Repeat each pixel of a picture for every level above `low` up to `high`.

    Args:
        places: (P,) int64 rising places in the picture.
        low: (P,) uint8.
        high: (P,) uint8, at least `low`.
        size: pixels of the picture.

    Returns:
        Places in the stack, rising.
    """
    counts = high.astype(np.int64) - low
    levels = ranges(low.astype(np.int64) + 1, high.astype(np.int64) + 1).astype(np.uint8)
    # On bytes a stable sort is a radix sort.
    order = np.argsort(levels, kind="stable")
    return np.repeat(places, counts)[order] + levels[order].astype(np.int64) * size


def runs_of(ranks: UInt8Array) -> Runs:
    """Runs of the stack of masks of a picture.

    Args:
        ranks: (H, W) uint8. A run goes on from the end of a row to the next row's start where both are in the mask: let
            the frame be all in or all out.
    """
    flat = np.zeros(ranks.size + 2, np.uint8)
    flat[1:-1] = ranks.ravel()
    at = np.flatnonzero(flat[1:] != flat[:-1])
    before, after = flat[at], flat[at + 1]
    rises = after > before
    return Runs(
        stack_places(at[rises], before[rises], after[rises], ranks.size),
        stack_places(at[~rises], after[~rises], before[~rises], ranks.size),
    )


@dataclass(frozen=True, slots=True)
class Components:
    """Connected components of runs, in the order of their first pixel.

    Attributes:
        number: how many.
        of_run: (R,) component of each run.
        holes: (number,) int64, how many holes each has.
    """

    number: int
    of_run: np.ndarray
    holes: Int64Array


def components_of(runs: Runs, width: int, *, diagonal: bool) -> Components:
    """Connect runs of neighbouring rows.

    Args:
        runs: of pictures of one width.
        width: of a row, px.
        diagonal: whether pixels that share a corner are connected.
    """
    # Of the runs whose ends and starts are both in order, those that touch a run from below are neighbours.
    first = np.searchsorted(runs.ends, runs.starts + width, side="left" if diagonal else "right")
    last = np.searchsorted(runs.starts, runs.ends + width, side="right" if diagonal else "left")
    pointers = np.concatenate([[0], np.cumsum(last - first)])
    touching = csr_array((np.ones(pointers[-1], np.uint8), ranges(first, last), pointers), shape=(len(runs), len(runs)))
    number, of_run = connected_components(touching, directed=False)
    # A graph of runs has a cycle for every hole: Euler's edges - nodes + 1.
    edges = np.bincount(of_run, weights=last - first, minlength=number).astype(np.int64)
    return Components(number, of_run, edges - np.bincount(of_run, minlength=number) + 1)


def hull_areas(owners: Int64Array, rows: Int64Array, starts: Int64Array, ends: Int64Array, number: int) -> np.ndarray:
    """Areas of the convex hulls of objects, as polygons through the centres of pixels.

    Args:
        owners: (R,) int64 object of each run, rising.
        rows: (R,) int64 row of each run, rising within an object.
        starts: (R,) int64 column of its first pixel, rising within a row.
        ends: (R,) int64 column after its last pixel.
        number: of objects.

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
