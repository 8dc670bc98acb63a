"""Cells → 16-bit label picture."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from app.pipeline.errors import InvalidParameter
from app.pipeline.geometry import Cells

MAX_CELLS = 2**16 - 1


def label_png(cells: Cells) -> bytes:
    """A grey PNG of the upload's size: 0 is background, i + 1 is cell i of the JSON answer; see `Cells.label_image`.

    Raises:
        InvalidParameter: there are more cells than 16 bits can tell apart.
    """
    if len(cells) > MAX_CELLS:
        raise InvalidParameter(f"format labels has room for {MAX_CELLS} cells, found {len(cells)}; ask for geojson.")
    buffer = io.BytesIO()
    Image.fromarray(cells.label_image.astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()
