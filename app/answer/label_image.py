"""The label image of a tile as a 16-bit PNG."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from app.answer.present import Result
from app.pipeline.errors import InvalidParameter

MAX_CELLS = 2**16 - 1


def label_png(result: Result) -> bytes:
    """Return a grey PNG of the upload's size: 0 is background, i + 1 is cell i of the JSON answer.

    `Cells.label_image` says which pixels a cell has where the upload is not at the bundle's scale.

    Raises:
        InvalidParameter: there are more cells than 16 bits can number.
    """
    cells = result.analysis.cells
    if len(cells) > MAX_CELLS:
        raise InvalidParameter(f"format labels has room for {MAX_CELLS} cells, found {len(cells)}; ask for geojson.")
    buffer = io.BytesIO()
    Image.fromarray(cells.label_image.astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()
