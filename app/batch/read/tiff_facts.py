"""What a TIFF says of itself: its levels, whether their pixels can be used, and its scale."""

from __future__ import annotations

import logging
import math
import struct

import numpy as np
from tifffile import COMPRESSION, PHOTOMETRIC, TiffFile, TiffPage, xml2dict

from app.batch.read.mpp import known_mpp
from app.batch.read.slide import SlideError

# It tells of each oddity on the way; what matters is told once, as the error it leads to.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

MAX_BLOCK_PIXELS = 64_000_000
"""A compressed strip or tile is decoded whole, however little of it is wanted."""
JPEG = frozenset({COMPRESSION.OJPEG, COMPRESSION.JPEG, COMPRESSION.ALT_JPEG, COMPRESSION.JPEG_LOSSY})
GREY = frozenset({PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE})
PREMULTIPLIED, ALPHA = 1, 2
UM_PER_TAG_UNIT = {2: 25_400.0, 3: 10_000.0}
UM_PER_UNIT = {
    "pm": 1e-6,
    "Å": 1e-4,
    "nm": 1e-3,
    "µm": 1.0,  # the micro sign
    "μm": 1.0,  # the Greek letter
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "\\u00B5m": 1.0,  # as ImageJ writes it
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
}


def levels_of(file: TiffFile) -> list[TiffPage]:
    """The levels of the picture, the largest first: one page each; other pictures, such as of the label, are left out.

    Raises:
        SlideError: there is none, or it is a stack of several.
    """
    if not file.series:
        raise SlideError("The TIFF holds no picture.")
    first = file.series[0]
    stack = {axis: length for axis, length in zip(first.axes, first.shape, strict=True) if axis not in "YXS"}
    if math.prod(stack.values()) > 1:
        found = " x ".join(f"{length} ({axis})" for axis, length in stack.items())
        raise SlideError(f"A TIFF must hold one picture, found a stack or channels: {found}.")
    return [level.keyframe.aspage() for level in first.levels]


def check_pixels(page: TiffPage) -> None:
    """Refuse what is not 8-bit grey or RGB.

    Raises:
        SlideError: with what was found.
    """
    if page.dtype != np.uint8 or page.bitspersample != 8:
        kind = "unknown" if page.dtype is None else page.dtype.name
        raise SlideError(f"A TIFF must have 8 bits per channel, found {page.bitspersample} ({kind}).")
    if not _is_grey(page) and not _is_colour(page):
        kind = getattr(page.photometric, "name", "unknown colours")
        raise SlideError(f"A TIFF must be grey or RGB, found {kind} of {page.samplesperpixel} channels.")
    block = math.prod(page.chunks) // (page.samplesperpixel if page.planarconfig == 1 else 1)
    if block > MAX_BLOCK_PIXELS and not page.is_memmappable:
        raise SlideError(
            f"The strips or tiles of a compressed TIFF may have at most {MAX_BLOCK_PIXELS} pixels, found {block}; "
            "write it with smaller ones."
        )


def _is_grey(page: TiffPage) -> bool:
    """A second channel must be alpha: it may as well be another dye."""
    return page.photometric in GREY and (
        page.samplesperpixel == 1
        or (page.samplesperpixel == 2 and page.extrasamples[:1] in ((PREMULTIPLIED,), (ALPHA,)))
    )


def _is_colour(page: TiffPage) -> bool:
    """A fourth channel may be anything: it is alpha, or is left out."""
    is_rgb = page.photometric == PHOTOMETRIC.RGB
    is_decoded_to_rgb = page.photometric == PHOTOMETRIC.YCBCR and page.compression in JPEG
    return (is_rgb or is_decoded_to_rgb) and page.samplesperpixel - len(page.extrasamples) == 3


def check_whole(file: TiffFile, levels: list[TiffPage]) -> None:
    """Refuse a file whose end is missing, before hours are spent on its beginning.

    Raises:
        SlideError: a strip or tile, or a next page, lies beyond the end, or is not listed at all.
    """
    size = file.filehandle.size
    ends = [int(np.add(page.dataoffsets, page.databytecounts).max(initial=0)) for page in levels]
    is_short = any(len(page.dataoffsets) < math.prod(page.chunked) for page in levels)
    if is_short or max(ends) > size or _next_page(file):
        raise SlideError(f"The TIFF is damaged or truncated: parts of it lie beyond its end at {size} bytes.")


def _next_page(file: TiffFile) -> int:
    """Where the file says that a page follows the last that was found; 0 at the end of a whole one."""
    form, handle = file.tiff, file.filehandle
    handle.seek(file.pages[-1].offset)
    (n_tags,) = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))
    handle.seek(n_tags * form.tagsize, 1)
    (offset,) = struct.unpack(form.offsetformat, handle.read(form.offsetsize))
    return int(offset)


def mpp_of(file: TiffFile) -> float | None:
    """µm per px of level 0, from OME's or ImageJ's metadata or the tags of resolution; None where none says."""
    if file.ome_metadata is not None:
        return known_mpp(_ome_mpp(file.ome_metadata))
    page = file.series[0].keyframe
    unit = UM_PER_TAG_UNIT.get(int(page.resolutionunit or 1))
    if file.imagej_metadata is not None:
        unit = UM_PER_UNIT.get(str(file.imagej_metadata.get("unit")), unit)
    return known_mpp(unit / per_unit if unit and per_unit > 0 else None for per_unit in page.resolution)


def _ome_mpp(text: str) -> list[float | None]:
    """Of the first picture, along x and y."""
    try:
        images = xml2dict(text)["OME"]["Image"]
        pixels = (images[0] if isinstance(images, list) else images)["Pixels"]
        sizes = [pixels.get(f"PhysicalSize{axis}") for axis in "XY"]
        units = [UM_PER_UNIT.get(pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "XY"]
        return [float(size) * unit if size and unit else None for size, unit in zip(sizes, units, strict=True)]
    except Exception:  # anything may be missing, or be of another kind, and none of it is needed
        return []
