"""Bytes → Tile: PNG, JPEG and TIFF of 8 bits, made RGB; everything else is refused with its reason."""

from __future__ import annotations

import hashlib
import io
import math
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from app.pipeline.errors import InvalidParameter, PipelineError, TileTooLarge, UnreadableTile, UnsupportedTile
from app.pipeline.types import Tile, UInt8Array

FORMATS = ("PNG", "JPEG", "TIFF")
MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
MAX_SIDE_PX = 20_000
"""Strips that are longer take the filters minutes; 450 x 20,000 is as large as a tile may be by default."""
MPP_RANGE = (0.05, 4.0)
"""µm per pixel that a microscope can mean; outside it the parameter is a mistake."""
BLOCK_WIDTH, BLOCK_LENGTH = 322, 323
BYTES_OF_TYPE = {1: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8}
"""Whole numbers only: libtiff ignores the others here."""


def decode(data: bytes, *, max_pixels: int, mpp: float | None = None) -> Tile:
    """Decode an upload.

    Palette, grey, CMYK and YCbCr become RGB; alpha is laid over white, the colour of an empty slide; the EXIF
    orientation is applied; of an animated or multi-page file only a single page is accepted.

    Args:
        data: the uploaded bytes.
        max_pixels: largest width x height, checked in the header before any pixel is decoded.
        mpp: µm per pixel of the upload, if known.

    Raises:
        UnreadableTile: not a PNG, JPEG or TIFF, or damaged.
        UnsupportedTile: 16-bit or floating-point samples, or several pages.
        TileTooLarge: more than `max_pixels`, in the image or in a block of a TIFF, or a side longer than MAX_SIDE_PX.
        InvalidParameter: `mpp` is not a finite number within MPP_RANGE.
        MemoryError: there is too little for the pixels.
    """
    if mpp is not None and not (math.isfinite(mpp) and MPP_RANGE[0] <= mpp <= MPP_RANGE[1]):
        raise InvalidParameter(f"mpp must be between {MPP_RANGE[0]} and {MPP_RANGE[1]} µm per pixel, found {mpp}.")
    if not data:
        raise UnreadableTile("The upload is empty (0 bytes).")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_header(image, max_pixels)
            _check_blocks(image, data, max_pixels)
            pixels = _to_rgb(image)
    except (PipelineError, MemoryError):  # that there is too little memory is no fault of the file
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
    """Whether there is more than one; they are not counted, since a file of many tiny pages takes minutes to count."""
    try:
        image.seek(1)
    except EOFError:
        return False
    return True


def _is_deep(image: Image.Image) -> bool:
    """Whether any channel has more than 8 bits; Pillow opens a 16-bit RGB PNG as mode RGB and drops the low byte."""
    if image.mode in {"I", "F"} or image.mode.startswith("I;"):
        return True
    if image.format == "PNG":
        # What Pillow is to decode names the raw mode, such as "RGB;16B".
        return any(";16" in str(layer) for layer in getattr(image, "tile", ()))
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(258, (8,))
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
    """Width and height in px of the largest block that the first directory of a TIFF asks for.

    Memory for a whole block is taken before any of it is read, however small the image and the file are. Of a tag that
    is there twice libtiff takes the first and Pillow the last, so that the largest is looked for.

    Args:
        data: the file; one that is cut off has fewer entries.

    Returns:
        Width and height, each 0 where no entry has it.
    """
    order: Literal["little", "big"] = "big" if data[:2] == b"MM" else "little"
    is_big = int.from_bytes(data[2:4], order) == 43
    wide, step, value_at = (8, 20, 12) if is_big else (2, 12, 8)
    at = int.from_bytes(data[8:16] if is_big else data[4:8], order)
    count = int.from_bytes(data[at : at + wide], order)
    found = {BLOCK_WIDTH: 0, BLOCK_LENGTH: 0}
    for start in range(at + wide, min(at + wide + step * count, len(data)), step):
        tag, kind = (int.from_bytes(data[start + shift : start + shift + 2], order) for shift in (0, 2))
        if tag in found and kind in BYTES_OF_TYPE:
            value = data[start + value_at : start + value_at + BYTES_OF_TYPE[kind]]
            found[tag] = max(found[tag], int.from_bytes(value, order))
    return found[BLOCK_WIDTH], found[BLOCK_LENGTH]
