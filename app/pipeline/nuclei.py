"""Labels → Nuclei: order, measures and outlines."""

from __future__ import annotations

import cv2
import numpy as np
from skimage.measure import regionprops_table

from app.pipeline.types import Int32Array, Nuclei


def in_reading_order(labels: Int32Array) -> Int32Array:
    """Number labels 1…N by their first pixel, row by row."""
    present, first = np.unique(labels, return_index=True)
    order = np.zeros(int(labels.max()) + 1, np.int32)
    nuclei = present > 0
    order[present[nuclei][np.argsort(first[nuclei])]] = np.arange(1, nuclei.sum() + 1)
    return np.asarray(order[labels])


def measure(labels: Int32Array) -> Nuclei:
    """Centroid, bounding box and area of every labelled nucleus, and whether it touches the border.

    Args:
        labels: (H, W) int32, 0 = background, 1…N without gaps.
    """
    table = regionprops_table(labels, properties=("centroid", "bbox", "area"))
    columns = {name: np.asarray(values) for name, values in table.items()}
    bboxes = np.column_stack([columns[f"bbox-{i}"] for i in (1, 0, 3, 2)]).astype(np.int64)
    height, width = labels.shape
    return Nuclei(
        labels=labels,
        centroids=np.column_stack([columns["centroid-1"], columns["centroid-0"]]).astype(np.float64),
        bboxes=bboxes,
        areas_px=columns["area"].astype(np.int64),
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
