"""Cells → 16-bit label picture."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image

from app.pipeline.errors import InvalidParameter
from app.pipeline.run import Analysis

MAX_CELLS = 2**16 - 1


def label_png(analysis: Analysis) -> bytes:
    """A grey PNG of the upload's size: 0 is background, i + 1 is cell i of the JSON answer.

    At the bundle's scale a cell has `area_px` pixels; at another one, those whose middle lies in it. Where that is
    none, since the upload's pixels are larger than nuclei, it has the pixel nearest to its centre, and of several such
    cells in one pixel only the last is seen.

    Raises:
        InvalidParameter: there are more cells than 16 bits can tell apart.
    """
    nuclei, tile = analysis.nuclei, analysis.tile
    if len(nuclei) > MAX_CELLS:
        raise InvalidParameter(f"format labels has room for {MAX_CELLS} cells, found {len(nuclei)}; ask for geojson.")
    labels = np.asarray(
        cv2.resize(nuclei.labels.astype(np.uint16), (tile.width, tile.height), interpolation=cv2.INTER_NEAREST_EXACT)
    )
    seen_px = np.bincount(labels.ravel(), minlength=len(nuclei) + 1)[1:]
    unseen = np.flatnonzero(seen_px == 0)
    x, y = np.rint(analysis.cells.centroids[unseen]).astype(int).T
    labels[y, x] = unseen + 1
    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, "PNG")
    return buffer.getvalue()
