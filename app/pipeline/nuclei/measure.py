"""Where each nucleus of a tile lies and how large it is, measured once, where the nuclei are found."""

from __future__ import annotations

import numpy as np

from app.pipeline.nuclei.run_lengths import RunLengths
from app.pipeline.types import BoolArray, Int32Array, Int64Array, Nuclei


def measure(label_image: Int32Array) -> Nuclei:
    """Measure the nuclei of a label image.

    Args:
        label_image: (H, W) int32, 0 = background, 1…N without gaps.
    """
    begins = np.ones(label_image.shape, bool)
    np.not_equal(label_image[:, 1:], label_image[:, :-1], out=begins[:, 1:])
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], label_image.size)
    owners = label_image.ravel()[starts].astype(np.int64) - 1
    order = np.argsort(owners, kind="stable")
    order = order[np.searchsorted(owners[order], 0) :]
    return _measured(label_image, RunLengths(starts[order], ends[order]), owners[order])


def measure_runs(rle: RunLengths, owners: Int64Array, shape: tuple[int, ...]) -> Nuclei:
    """Measure nuclei that are given as run lengths, and paint their label image.

    Args:
        rle: R runs of a tile, none of which continues in the next row, and no two of which overlap.
        owners: (R,) int64 nucleus of each run, 0…N − 1 without gaps, rising.
        shape: H, W of the tile.
    """
    label_image = np.zeros(shape, np.int32)
    label_image.ravel()[rle.places()] = np.repeat(owners + 1, rle.lengths)
    return _measured(label_image, rle, owners)


def _measured(label_image: Int32Array, rle: RunLengths, owners: Int64Array) -> Nuclei:
    height, width = label_image.shape
    lengths = rle.lengths
    rows, columns = np.divmod(rle.starts, width)
    first = np.flatnonzero(np.diff(owners, prepend=-1))
    areas = np.add.reduceat(lengths, first)
    x = np.add.reduceat(lengths * (columns + (lengths - 1) / 2), first) / areas
    y = np.add.reduceat(lengths * rows, first) / areas
    bboxes = np.column_stack(
        [
            np.minimum.reduceat(columns, first),
            np.minimum.reduceat(rows, first),
            np.maximum.reduceat(columns + lengths, first),
            np.maximum.reduceat(rows, first) + 1,
        ]
    )
    return Nuclei(
        label_image=label_image,
        centroids=np.column_stack([x, y]),
        bboxes=bboxes,
        areas_px=areas,
        touches_border=((bboxes[:, :2] == 0) | (bboxes[:, 2:] == (width, height))).any(axis=1),
    )


def select_nuclei(nuclei: Nuclei, kept: BoolArray) -> Nuclei:
    """Return some of the nuclei, in the same order and with new labels.

    Args:
        nuclei: N nuclei.
        kept: (N,) bool, which of them.

    Returns:
        The same value where all are kept.
    """
    if kept.all():
        return nuclei
    labels = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)]).astype(np.int32)
    return Nuclei(
        label_image=labels[nuclei.label_image],
        centroids=nuclei.centroids[kept],
        bboxes=nuclei.bboxes[kept],
        areas_px=nuclei.areas_px[kept],
        touches_border=nuclei.touches_border[kept],
    )
