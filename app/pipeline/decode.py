"""Bytes → Tile: PNG, JPEG and TIFF of 8 bits become RGB; everything else is refused with its reason."""

from __future__ import annotations

import hashlib
import io
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from app.pipeline.errors import PipelineError, TileTooLarge, UnreadableTile, UnsupportedTile
from app.pipeline.inputs import FORMATS, check_mpp
from app.pipeline.types import Tile, UInt8Array

MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
"""Pillow's names of the pixel formats that can be made RGB."""
MAX_SIDE_PX = 20_000
"""Longest side of a tile, px: filters take minutes on a longer one. By default 450 × 20,000 px is the largest tile."""

BITS_PER_SAMPLE = 258
"""Tag of a TIFF."""
BLOCK_WIDTH, BLOCK_LENGTH = 322, 323
"""Tags of a TIFF that the specification calls TileWidth and TileLength."""
BYTES_OF_TYPE = {1: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8}
"""Bytes of each type of a TIFF's field that holds a whole number; libtiff ignores all other types here."""


def decode(data: bytes, *, max_pixels: int, mpp: float | None = None) -> Tile:
    """Decode an upload.

    Palette, grey, CMYK and YCbCr become RGB; alpha is laid over white, the colour of an empty slide; the EXIF
    orientation is applied; a file with more than one frame or page is refused.

    Args:
        data: the uploaded bytes.
        max_pixels: largest width × height, checked in the header before any pixel is decoded.
        mpp: µm per pixel of the upload, if known.

    Raises:
        UnreadableTile: not a PNG, JPEG or TIFF, or damaged.
        UnsupportedTile: 16-bit or floating-point samples, or several pages.
        TileTooLarge: more than `max_pixels`, in the image or in a block of a TIFF, or a side longer than MAX_SIDE_PX.
        InvalidParameter: `mpp` is not one that a microscope can have.
        MemoryError: there is too little memory for the pixels.
    """
    check_mpp(mpp)
    if not data:
        raise UnreadableTile("The upload is empty (0 bytes).")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_header(image, max_pixels)
            _check_blocks(image, data, max_pixels)
            pixels = _to_rgb(image)
    except (PipelineError, MemoryError):  # a lack of memory is no fault of the file
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TileTooLarge(f"The tile may have at most {max_pixels} pixels.") from error
    except UnidentifiedImageError as error:
        raise UnreadableTile("The upload is not a PNG, JPEG or TIFF image.") from error
    except Exception as error:  # Pillow's decoders report damage with exceptions of many kinds
        raise UnreadableTile("The image is damaged or truncated and cannot be decoded.") from error
    return Tile(pixels=pixels, sha256=hashlib.sha256(data).hexdigest(), mpp=mpp)


def _check_header(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise TileTooLarge(f"The tile may have at most {max_pixels} pixels, found {width} x {height}.")
    if max(width, height) > MAX_SIDE_PX:
        raise TileTooLarge(f"A side of the tile may have at most {MAX_SIDE_PX} pixels, found {width} x {height}.")
    if width * height == 0:
        raise UnreadableTile("The image has no pixels.")
    if _is_deep(image):
        raise UnsupportedTile(f"The tile must have 8 bits per channel, found more (mode {image.mode}).")
    if image.mode not in MODES:
        raise UnsupportedTile(f"The tile must be RGB, grey, palette or CMYK, found mode {image.mode}.")
    if _has_second_frame(image):
        raise UnsupportedTile("The tile must be a single image, found several frames or pages.")


def _check_blocks(image: Image.Image, data: bytes, max_pixels: int) -> None:
    width, height = largest_block(data) if image.format == "TIFF" else (0, 0)
    if width * height > max_pixels:
        raise TileTooLarge(f"A block of a TIFF may have at most {max_pixels} pixels, found {width} x {height}.")


def _has_second_frame(image: Image.Image) -> bool:
    """Return whether there is more than one frame, without counting them: many tiny pages take minutes to count."""
    try:
        image.seek(1)
    except EOFError:
        return False
    return True


def _is_deep(image: Image.Image) -> bool:
    """Return whether a channel has more than 8 bits; Pillow gives a 16-bit RGB PNG as RGB and drops the low bytes."""
    if image.mode in {"I", "F"} or image.mode.startswith("I;"):
        return True
    if image.format == "PNG":
        # What Pillow is about to decode names the raw mode, such as "RGB;16B".
        return any(";16" in str(layer) for layer in getattr(image, "tile", ()))
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (8,))
        return bool(max(np.atleast_1d(bits)) > 8)
    return False


def _to_rgb(image: Image.Image) -> UInt8Array:
    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        canvas = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        upright = Image.alpha_composite(canvas, rgba)
    return np.ascontiguousarray(upright.convert("RGB"), dtype=np.uint8)


def largest_block(data: bytes) -> tuple[int, int]:
    """Return the size of the largest block of pixels ("tile") that the first directory of a TIFF declares.

    libtiff allocates memory for a whole block before it reads any of it, however small the image and the file are. Of
    a tag that occurs twice libtiff takes the first and Pillow the last, so the largest is returned (TIFF 6.0, section
    15; BigTIFF).

    Args:
        data: the file; a truncated one has fewer fields.

    Returns:
        Width and height in px, each 0 where no field declares it.
    """
    order: Literal["little", "big"] = "big" if data[:2] == b"MM" else "little"
    is_big = int.from_bytes(data[2:4], order) == 43
    count_bytes, step, value_at = (8, 20, 12) if is_big else (2, 12, 8)
    at = int.from_bytes(data[8:16] if is_big else data[4:8], order)
    count = int.from_bytes(data[at : at + count_bytes], order)
    found = {BLOCK_WIDTH: 0, BLOCK_LENGTH: 0}
    for start in range(at + count_bytes, min(at + count_bytes + step * count, len(data)), step):
        tag, kind = (int.from_bytes(data[start + shift : start + shift + 2], order) for shift in (0, 2))
        if tag in found and kind in BYTES_OF_TYPE:
            value = data[start + value_at : start + value_at + BYTES_OF_TYPE[kind]]
            found[tag] = max(found[tag], int.from_bytes(value, order))
    return found[BLOCK_WIDTH], found[BLOCK_LENGTH]
