"""Nuclei at the border of a tile."""

from __future__ import annotations

import numpy as np

from app.pipeline.nuclei.measure import measure
from app.pipeline.types import BoolArray, Int64Array, Nuclei

WIDEST = 0.95
"""Share of its widest line from which on a line counts as the widest: outlines are not smooth."""


def drop_cut_nuclei(nuclei: Nuclei) -> Nuclei:
    """Leave out the nuclei that the border cuts by more than half: what is left of them says little of their kind.

    Returns:
        The others, in the same order; the same value where none is left out.
    """
    cut = cut_by_more_than_half(nuclei)
    if not cut.any():
        return nuclei
    return select_nuclei(nuclei, ~cut)


def select_nuclei(nuclei: Nuclei, kept: BoolArray) -> Nuclei:
    """Some of the nuclei, in the same order.

    Args:
        nuclei: all of them.
        kept: (N,) bool, which.
    """
    new = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)]).astype(np.int32)
    return measure(new[nuclei.label_image])


def cut_by_more_than_half(nuclei: Nuclei) -> BoolArray:
    """Which nuclei lie for their larger part beyond the border, as far as what is left of them tells.

    The centre of a symmetrical shape lies beyond the border where its widest line along the border is the one that the
    border cuts; and that of a disc, where it is less deep than half that line. Both must hold.

    Returns:
        (N,) bool.
    """
    cut = np.zeros(len(nuclei), bool)
    height, width = nuclei.label_image.shape
    for i in np.flatnonzero(nuclei.touches_border):
        x0, y0, x1, y1 = nuclei.bboxes[i]
        mask = nuclei.label_image[y0:y1, x0:x1] == i + 1
        columns, rows = mask.sum(axis=0), mask.sum(axis=1)
        sides = ((x0 == 0, columns), (x1 == width, columns[::-1]), (y0 == 0, rows), (y1 == height, rows[::-1]))
        cut[i] = any(touches and _is_mostly_beyond(lines) for touches, lines in sides)
    return cut


def _is_mostly_beyond(lines: Int64Array) -> bool:
    """Whether a nucleus with these numbers of pixels on each line, the border's first, has its centre beyond it."""
    return bool(lines[0] >= WIDEST * lines.max() and len(lines) < lines[0] / 2)
