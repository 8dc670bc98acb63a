"""Label image → Nuclei: where each nucleus lies, and how large it is."""

from __future__ import annotations

import numpy as np

from app.pipeline.types import Int32Array, Nuclei


def measure(labels: Int32Array) -> Nuclei:
    """Centroid, bounding box and area of every labelled nucleus, and whether it touches the border.

    Args:
        labels: (H, W) int32, 0 = background, 1…N without gaps.
    """
    height, width = labels.shape
    # Runs, pieces of rows with one label, are a hundredth of the pixels.
    begins = np.ones(labels.shape, bool)
    np.not_equal(labels[:, 1:], labels[:, :-1], out=begins[:, 1:])
    starts = np.flatnonzero(begins)
    lengths = np.diff(starts, append=labels.size)
    owners = labels.ravel()[starts] - 1
    order = np.argsort(owners, kind="stable")
    order = order[np.searchsorted(owners[order], 0) :]
    owners, lengths = owners[order], lengths[order]
    rows, columns = np.divmod(starts[order], width)
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
        label_image=labels,
        centroids=np.column_stack([x, y]),
        bboxes=bboxes,
        areas_px=areas,
        touches_border=((bboxes[:, :2] == 0) | (bboxes[:, 2:] == (width, height))).any(axis=1),
    )
