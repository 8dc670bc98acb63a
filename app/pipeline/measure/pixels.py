"""The pixels of all nuclei of a tile, nucleus by nucleus, so that every measurement is one sum over stretches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.pipeline.measure.density import Levels
from app.pipeline.measure.stretches import Stretches
from app.pipeline.nuclei.run_lengths import RunLengths
from app.pipeline.types import BoolArray, Int32Array, Int64Array, Nuclei

MIN_PIXELS = 5
"""Pixels that a nucleus needs to have a shape and a spread of densities."""
OUTSIDE = -1


@dataclass(frozen=True, slots=True)
class NuclearPixels:
    """P pixels of N nuclei, each nucleus copied out of the tile, so that a pixel looks up others of the same nucleus.

    A copy is as large as the nucleus's box and a frame round it, from which no step leads out. The copies lie one after
    the other: to look up pixels in the whole tile would mean to fetch every row of every nucleus anew.

    Attributes:
        copies: int16, for each pixel of the flattened copies its level of haematoxylin; OUTSIDE where it is not the
            nucleus's.
        places: (P,) int64 index of every pixel in the copies; those of a nucleus in reading order.
        down: (P,) int64, the step from a pixel in the copies to the one below it.
        in_tile: (P,) int64 index of every pixel in the flattened tile.
        owners: (P,) int32 the nucleus of every pixel, 0…N − 1.
        levels: (P,) int16 its level of haematoxylin.
        outermost: (P,) bool, whether one of its four neighbours lies outside its nucleus.
        stretches: which pixels belong to which nucleus.
    """

    copies: Levels
    places: Int64Array
    down: Int64Array
    in_tile: Int64Array
    owners: Int32Array
    levels: Levels
    outermost: BoolArray
    stretches: Stretches

    @classmethod
    def of(cls, nuclei: Nuclei, levels: Levels | None, frame: int) -> NuclearPixels:
        """Gather the pixels of nuclei.

        Args:
            nuclei: N nuclei.
            levels: (H, W) int16 of haematoxylin; None without stains, and then all pixels have level 0.
            frame: width in px of the frame round each copy, at least 1.
        """
        runs, of_run = _runs(nuclei.label_image)
        stretches, in_tile = Stretches.of_counts(nuclei.areas_px), runs.places()
        x0, y0, x1, y1 = nuclei.bboxes.T
        widths, heights = x1 - x0 + 2 * frame, y1 - y0 + 2 * frame
        sizes = widths * heights
        corners = np.cumsum(sizes) - sizes + frame * widths + frame
        y, x = np.divmod(runs.starts, nuclei.label_image.shape[1])
        starts = corners[of_run] + (y - y0[of_run]) * widths[of_run] + x - x0[of_run]
        places = in_tile + np.repeat(starts - runs.starts, runs.lengths)
        inside = np.zeros(len(places), np.int16) if levels is None else levels.ravel()[in_tile]
        copies = np.full(int(sizes.sum()), OUTSIDE, np.int16)
        copies[places] = inside
        down = np.repeat(widths, nuclei.areas_px)
        outermost = np.zeros(len(places), bool)
        for step in (1, -1, down, -down):
            outermost |= copies[places + step] < 0
        return cls(copies, places, down, in_tile, stretches.owners(), inside, outermost, stretches)


def _runs(label_image: Int32Array) -> tuple[RunLengths, np.ndarray]:
    """Return the runs of the nuclei, nucleus by nucleus, and the nucleus of each, 0…N − 1."""
    begins = np.ones(label_image.shape, bool)
    np.not_equal(label_image[:, 1:], label_image[:, :-1], out=begins[:, 1:])
    starts = np.flatnonzero(begins)
    owners = label_image.ravel()[starts] - 1
    order = np.argsort(owners, kind="stable")
    order = order[np.searchsorted(owners[order], 0) :]
    return RunLengths(starts[order], np.append(starts[1:], label_image.size)[order]), owners[order]
