"""Which picture of a TIFF is read, and whether its pixels are of a kind that can be read.

Pillow gives one answer to all that it cannot read, and turns a picture by its tag Orientation. What is found here has a
name, and pixels stay where they are stored.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

from app.pipeline.errors import TileTooLarge, UnreadableTile, UnsupportedTile
from app.pipeline.headers.metadata import DESCRIPTION, METADATA_TAGS, ORIENTATION
from app.pipeline.headers.tiff_directories import MAX_DIRECTORIES, Directory, directories

NEW_SUBFILE_TYPE, SUBFILE_TYPE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 254, 255, 256, 257, 258, 259, 262
SAMPLES, BLOCK_WIDTH, BLOCK_LENGTH, EXTRA_SAMPLES, SAMPLE_FORMAT, NDPI = 277, 322, 323, 338, 339, 65420
TAGS = METADATA_TAGS | {NEW_SUBFILE_TYPE, SUBFILE_TYPE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES}
TAGS |= {BLOCK_WIDTH, BLOCK_LENGTH, EXTRA_SAMPLES, SAMPLE_FORMAT, NDPI}
"""Tags of a TIFF. The specification calls the two of a block TileWidth and TileLength; NDPI is Hamamatsu's own."""

READ_COMPRESSIONS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32809, 32946, 34925, 50000})
"""Compressions of a TIFF that Pillow reads in every build of it that is published."""
COMPRESSIONS = {
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    33007: "JPEG (alternative)",
    34676: "SGI LogLuv",
    34677: "SGI LogLuv",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG (DNG)",
    34933: "PNG",
    34934: "JPEG XR",
    50001: "WebP",
    50002: "JPEG XL",
    50013: "PIXTIFF",
    52546: "JPEG XL (DNG)",
}
"""Names of other compressions."""
GREY = {0, 1}
READ_COLOURS = GREY | {2, 3, 5, 6}
"""Values of PhotometricInterpretation that are read: grey, RGB, palette, CMYK and YCbCr."""
COLOURS = {
    4: "a transparency mask",
    8: "CIELAB",
    9: "ICCLAB",
    10: "ITULAB",
    32803: "raw pixels of a camera (CFA)",
    32844: "LogL",
    32845: "LogLuv",
    34892: "linear raw pixels of a camera",
}
"""Names of its other values."""
UNSIGNED, UNDEFINED = 1, 4
SAMPLE_FORMATS = {2: "signed whole numbers", 3: "floating-point numbers", 5: "complex numbers", 6: "complex numbers"}
ALPHAS = {1, 2}
APERIO = "Aperio"
"""How the description of every page of an Aperio file begins."""
REDUCED = 1
"""Bit of NewSubfileType: a smaller copy, a thumbnail, the glass label or the macro picture."""
REDUCED_OLD = 2
"""Value of SubfileType with the same meaning."""


IMAGEJ_STACK = re.compile(r"ImageJ=[^\n]*\nimages=(?!1\n)(\d+)")
"""How ImageJ describes a stack, whose pictures may all follow the one page of the first."""


def pages_of(data: bytes) -> list[Directory]:
    """Return the directories of a TIFF, the first page's first.

    Raises:
        UnreadableTile: the file is too short for one.
    """
    pages = list(directories(data, TAGS))
    if not pages:
        raise UnreadableTile("The TIFF is damaged or truncated and cannot be decoded.")
    return pages


def check_block(page: Directory, max_pixels: int) -> None:
    """Refuse a page whose blocks ("tiles") are too large.

    libtiff allocates memory for a whole block before it reads any of it, however small the image and the file are. Of
    a tag that occurs twice libtiff takes the first and Pillow the last, so the largest counts (TIFF 6.0, section 15).

    Raises:
        TileTooLarge: a block has more than `max_pixels`.
    """
    width, height = (int(max(page.numbers(tag), default=0)) for tag in (BLOCK_WIDTH, BLOCK_LENGTH))
    if width * height > max_pixels:
        raise TileTooLarge(f"A block of a TIFF may have at most {max_pixels} pixels, found {width} x {height}.")


def check_samples(page: Directory) -> None:
    """Refuse pixels that cannot be read, and say what they are.

    Raises:
        UnsupportedTile: the compression, the numbers or the colours are not among those that are read.
    """
    bits, form = int(max(page.numbers(BITS), default=1)), page.whole(SAMPLE_FORMAT, UNSIGNED)
    if bits > 8 or form not in (UNSIGNED, UNDEFINED):
        numbers = SAMPLE_FORMATS.get(form, "whole numbers")
        raise UnsupportedTile(f"The tile must have 8 bits per channel, unsigned; found {bits} bits, {numbers}.")
    compression = page.whole(COMPRESSION, 1)
    if compression not in READ_COMPRESSIONS:
        name = COMPRESSIONS.get(compression, "an unknown method")
        raise UnsupportedTile(
            f"The TIFF is compressed with {name} (method {compression}), which is not read; save it with LZW, Deflate "
            "or JPEG compression, or with none."
        )
    colours, samples = page.whole(PHOTOMETRIC), page.whole(SAMPLES, 1)
    if colours not in READ_COLOURS:
        name = COLOURS.get(colours, f"unknown (PhotometricInterpretation {colours})")
        raise UnsupportedTile(f"The tile must be RGB, grey, palette or CMYK; the colours of this TIFF are {name}.")
    has_alpha = samples == 2 and page.whole(EXTRA_SAMPLES) in ALPHAS
    if colours in GREY and samples > 1 and not has_alpha:
        raise UnsupportedTile(
            f"The tile must be RGB, grey, palette or CMYK; this TIFF has {samples} grey planes, which could be "
            "separate dyes. Save it as RGB if they are red, green and blue."
        )


def check_single(pages: Sequence[Directory]) -> None:
    """Refuse a file of several pictures; the smaller copies of a pyramid, a thumbnail, a label and a macro are none.

    Raises:
        UnsupportedTile: a page is not marked as one of those of the first page.
    """
    first, is_aperio = pages[0], pages[0].text(DESCRIPTION).startswith(APERIO)
    if first.fields.get(NDPI):
        raise UnsupportedTile("The upload is a Hamamatsu NDPI slide, which only `marrowscope batch` reads.")
    in_one_page = IMAGEJ_STACK.match(first.text(DESCRIPTION))
    if in_one_page and len(pages) == 1:
        raise UnsupportedTile(
            f"The tile must be a single image, found several frames or pages: an ImageJ stack of {in_one_page[1]}."
        )
    for number, page in enumerate(pages[1:], 2):
        text = page.text(DESCRIPTION)
        is_smaller = all(page.whole(side) <= first.whole(side) for side in (WIDTH, LENGTH)) and _size(page) != _size(
            first
        )
        is_marked = _is_reduced(page) or (is_aperio and text.startswith(APERIO))
        is_label = is_aperio and any(word in text for word in ("\nlabel ", "\nmacro "))
        if not (is_label or (is_smaller and is_marked)) or _is_reduced(first) or number == MAX_DIRECTORIES:
            raise UnsupportedTile(
                f"The tile must be a single image, found several frames or pages: page {number} has {_size(page)} "
                f"pixels, page 1 {_size(first)}, and it is not marked as a smaller copy, a thumbnail, a label or a "
                "macro picture. Save the wanted page as a file of its own."
            )


def as_stored(data: bytes, page: Directory) -> bytes:
    """Return the file without what would turn the picture; the same bytes if nothing would.

    Args:
        data: the file.
        page: its first page.
    """
    turning = [field for field in page.fields.get(ORIENTATION, []) if field.values[:1] not in ([], [1])]
    if not turning:
        return data
    changed = bytearray(data)
    for field in turning:
        struct.pack_into(field.order + field.code, changed, field.at, 1)
    return bytes(changed)


def _is_reduced(page: Directory) -> bool:
    return bool(page.whole(NEW_SUBFILE_TYPE) & REDUCED) or page.whole(SUBFILE_TYPE) == REDUCED_OLD


def _size(page: Directory) -> str:
    return f"{page.whole(WIDTH)} x {page.whole(LENGTH)}"
