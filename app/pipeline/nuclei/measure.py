"""Labels → Nuclei: measures and outlines."""

from __future__ import annotations

import cv2
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
        labels=labels,
        centroids=np.column_stack([x, y]),
        bboxes=bboxes,
        areas_px=areas,
        touches_border=((bboxes[:, :2] == 0) | (bboxes[:, 2:] == (width, height))).any(axis=1),
    )


def contours(nuclei: Nuclei) -> list[Int32Array]:
    """Outer outline of every nucleus.

    Returns:
        One (V, 2) int32 array of x, y per nucleus, V ≥ 1, clockwise on the screen, not closed.
    """
    outlines = []
    for i, (x0, y0, x1, y1) in enumerate(nuclei.bboxes, start=1):
        inside = (nuclei.labels[y0:y1, x0:x1] == i).astype(np.uint8)
        found, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(int(x0), int(y0)))
        # OpenCV goes round the other way.
        outlines.append(np.asarray(max(found, key=len), dtype=np.int32).reshape(-1, 2)[::-1])
    return outlines
