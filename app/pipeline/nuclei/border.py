"""Nuclei that the border of a tile cuts."""

from __future__ import annotations

import numpy as np

from app.pipeline.nuclei.measure import select_nuclei
from app.pipeline.types import BoolArray, Int64Array, Nuclei

WIDEST = 0.95
"""Share of its widest line from which on a line counts as the widest: outlines are not smooth."""


def drop_cut_nuclei(nuclei: Nuclei) -> Nuclei:
    """Drop the nuclei that the border cuts by more than half: the rest of such a nucleus says little of its kind.

    Returns:
        The nuclei that are kept, in the same order; the same value where all are.
    """
    return select_nuclei(nuclei, ~cut_by_more_than_half(nuclei))


def cut_by_more_than_half(nuclei: Nuclei) -> BoolArray:
    """Estimate which nuclei lie for their larger part beyond the border, from the part that is seen.

    If a shape is symmetrical and its centre lies beyond the border, its widest line parallel to the border is the one
    at the border. If a disc's centre lies beyond the border, it is less deep than half that line. Both must hold.

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
    """Return whether a nucleus has its centre beyond the border, by its pixels on each line from the border inwards."""
    return bool(lines[0] >= WIDEST * lines.max() and len(lines) < lines[0] / 2)
