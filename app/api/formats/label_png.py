"""Cells → 16-bit label picture."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image

from app.pipeline.errors import InvalidParameter
from app.service import Result

MAX_CELLS = 2**16 - 1


def label_png(result: Result) -> bytes:
    """A grey PNG of the upload's size: 0 is background, i + 1 is cell i of the JSON answer.

    Raises:
        InvalidParameter: there are more cells than 16 bits can tell apart.
    """
    analysis = result.analysis
    if len(analysis.nuclei) > MAX_CELLS:
        raise InvalidParameter(
            f"format labels has room for {MAX_CELLS} cells, found {len(analysis.nuclei)}; ask for geojson."
        )
    size = (analysis.tile.width, analysis.tile.height)
    labels = cv2.resize(analysis.nuclei.labels.astype(np.uint16), size, interpolation=cv2.INTER_NEAREST_EXACT)
    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, "PNG")
    return buffer.getvalue()
