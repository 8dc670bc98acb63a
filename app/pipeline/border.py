"""Nuclei at the border of a tile, and tiles that are parts of a larger one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.pipeline.nuclei import in_reading_order, measure
from app.pipeline.types import BoolArray, Int64Array, Nuclei

WIDEST = 0.95
"""Share of its widest line from which on a line counts as the widest: outlines are not smooth."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a larger tile.

    Attributes:
        nuclei: its nuclei.
        x: column of its first pixel in the larger tile.
        y: row of its first pixel in the larger tile.
    """

    nuclei: Nuclei
    x: int
    y: int


def keep_whole(nuclei: Nuclei) -> Nuclei:
    """Leave out the nuclei that the border cuts by more than half: what is left of them says little of their kind.

    Returns:
        The others, in the same order; the same value where none is left out.
    """
    cut = cut_by_more_than_half(nuclei)
    if not cut.any():
        return nuclei
    return only(nuclei, ~cut)


def only(nuclei: Nuclei, kept: BoolArray) -> Nuclei:
    """Some of the nuclei, in the same order.

    Args:
        nuclei: all of them.
        kept: (N,) bool, which.
    """
    new = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)]).astype(np.int32)
    return measure(new[nuclei.labels])


def cut_by_more_than_half(nuclei: Nuclei) -> BoolArray:
    """Which nuclei lie for their larger part beyond the border, as far as what is left of them tells.

    The centre of a symmetrical shape lies beyond the border where its widest line along the border is the one that the
    border cuts; and that of a disc, where it is less deep than half that line. Both must hold.

    Returns:
        (N,) bool.
    """
    cut = np.zeros(len(nuclei), bool)
    height, width = nuclei.labels.shape
    for i in np.flatnonzero(nuclei.touches_border):
        x0, y0, x1, y1 = nuclei.bboxes[i]
        mask = nuclei.labels[y0:y1, x0:x1] == i + 1
        columns, rows = mask.sum(axis=0), mask.sum(axis=1)
        sides = ((x0 == 0, columns), (x1 == width, columns[::-1]), (y0 == 0, rows), (y1 == height, rows[::-1]))
        cut[i] = any(touches and _is_mostly_beyond(lines) for touches, lines in sides)
    return cut


def _is_mostly_beyond(lines: Int64Array) -> bool:
    """Whether a nucleus with these numbers of pixels on each line, the border's first, has its centre beyond it."""
    return bool(lines[0] >= WIDEST * lines.max() and len(lines) < lines[0] / 2)


def merge(parts: Sequence[Part], shape: tuple[int, int]) -> Nuclei:
    """Put the nuclei of overlapping parts together, each once.

    A nucleus that an inner edge cuts is left to the neighbour, so parts must overlap by more than the longest nucleus.
    Of a nucleus that several parts hold, the one farthest from an inner edge counts. The parts are to be unmixed with
    one `StainEstimate`.

    Args:
        parts: which cover the larger tile.
        shape: height and width of the larger tile, px.

    Returns:
        Nuclei of the larger tile.
    """
    found = [
        (int(margin), part, i)
        for part in parts
        for i, margin in enumerate(_margins(part, shape), start=1)
        if margin > 0
    ]
    labels = np.zeros(shape, np.int32)
    # The sort is stable: equal margins stay in the order of the parts.
    for number, (_, part, i) in enumerate(sorted(found, key=lambda one: -one[0]), start=1):
        x0, y0, x1, y1 = part.nuclei.bboxes[i - 1]
        mask = part.nuclei.labels[y0:y1, x0:x1] == i
        place = labels[part.y + y0 : part.y + y1, part.x + x0 : part.x + x1]
        free = mask & (place == 0)
        if 2 * free.sum() > mask.sum():
            place[free] = number
    return measure(in_reading_order(labels))


def _margins(part: Part, shape: tuple[int, int]) -> Int64Array:
    """Distance, px, of each nucleus's box from the nearest inner edge of its part; 0 where that cuts it."""
    height, width = part.nuclei.labels.shape
    x0, y0, x1, y1 = part.nuclei.bboxes.T
    far = np.full(len(part.nuclei), max(shape))
    margins: Int64Array = np.min(
        [
            x0 if part.x > 0 else far,
            y0 if part.y > 0 else far,
            width - x1 if part.x + width < shape[1] else far,
            height - y1 if part.y + height < shape[0] else far,
        ],
        axis=0,
    )
    return margins
