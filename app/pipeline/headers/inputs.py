"""What can be analysed: formats of files, and µm per pixel. Importing this costs nothing."""

from __future__ import annotations

import math
from typing import Literal

from app.pipeline.errors import InvalidParameter

FORMATS = ("PNG", "JPEG", "TIFF")
"""Formats of a tile, by the names that Pillow gives them."""
TILE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""Suffixes of the files of tiles, in lower case."""
OTHER_FORMATS = (
    (0, b"RIFF", "a WebP picture"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"BM", "a BMP picture"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"II\xbc\x01", "a JPEG XR picture"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"%PDF", "a PDF document"),
    (0, b"ZISRAWFILE", "a Zeiss CZI slide"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"PK\3\4", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"<svg", "an SVG drawing"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftypmif1", "a HEIC picture"),
    (4, b"ftypmsf1", "a HEIC picture"),
    (4, b"ftyphe", "a HEIC picture"),
    (4, b"ftyp", "a video"),
    (128, b"DICM", "a DICOM file"),
)
"""Formats that are not read, though people send them: where the mark of one stands in a file, the mark, its name."""
LONGEST_MARK = 132
"""Bytes at the start of a file that hold every mark of OTHER_FORMATS."""
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


def other_format(start: bytes) -> str | None:
    """Return the name of a format that is not read, with its article; None if the bytes are of no format known here.

    Args:
        start: the first LONGEST_MARK bytes of the file, or more.
    """
    return next((name for at, mark, name in OTHER_FORMATS if start[at : at + len(mark)] == mark), None)


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
