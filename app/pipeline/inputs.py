"""What can be analysed: formats of files, and µm per pixel. Importing this costs nothing."""

from __future__ import annotations

import math
from typing import Literal

from app.pipeline.errors import InvalidParameter

FORMATS = ("PNG", "JPEG", "TIFF")
"""Formats of a tile, by the names that Pillow gives them."""
TILE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""Suffixes of the files of tiles, in lower case."""
SLIDE_SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".svslide", ".bif", ".czi", ".dcm")
"""Suffixes of the files of whole slides other than TIFF, in lower case."""
SEVERAL_FILES_SUFFIXES = (".mrxs", ".vms", ".vmu", ".dcm")
"""Those of SLIDE_SUFFIXES whose slides consist of several files."""
PICTURE_SUFFIXES = (".overlay.png", ".labels.png", ".stages.png")
"""Endings of the pictures that `marrowscope analyze` writes. They may lie beside tiles, and are not tiles."""
FrameName = Literal["bounds", "canvas"]
"""What the coordinates of a slide count from: `bounds` is the scanned part, which QuPath shows, where the file of the
slide states one; `canvas` is the whole plane that the file spans, whose unscanned parts are empty."""
MPP_RANGE = (0.05, 4.0)
"""Lowest and highest µm per pixel that a tile may have: a microscope's pixels are neither smaller nor larger."""


def is_possible_mpp(mpp: float) -> bool:
    """Return whether a microscope can have this many µm per pixel; NaN and infinity are not possible."""
    return math.isfinite(mpp) and MPP_RANGE[0] <= mpp <= MPP_RANGE[1]


def check_mpp(mpp: float | None) -> None:
    """Refuse a number of µm per pixel that no microscope has; None, which is not known, passes.

    Raises:
        InvalidParameter: `mpp` is not a finite number within MPP_RANGE.
    """
    if mpp is not None and not is_possible_mpp(mpp):
        raise InvalidParameter(f"mpp must be between {MPP_RANGE[0]} and {MPP_RANGE[1]} µm per pixel, found {mpp}.")
