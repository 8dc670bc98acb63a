"""Bytes → Tile: PNG, JPEG and TIFF of 8 bits become RGB; everything else is refused with its reason."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from app.pipeline.errors import PipelineError, TileTooLarge, UnreadableTile, UnsupportedTile
from app.pipeline.headers.declared_scale import chosen_mpp
from app.pipeline.headers.inputs import check_mpp, other_format
from app.pipeline.headers.metadata import Metadata, metadata_of, metadata_of_tiff
from app.pipeline.headers.tiff_directories import HEADERS
from app.pipeline.headers.tiff_pages import as_stored, check_block, check_samples, check_single, pages_of
from app.pipeline.types import Tile, UInt8Array

MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
"""Pillow's names of the pixel formats that can be made RGB."""
MAX_SIDE_PX = 20_000
"""Longest side of a tile, px: filters take minutes on a longer one. By default 450 × 20,000 px is the largest tile."""
READERS: Mapping[bytes, type[ImageFile]] = {
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"\xff\xd8\xff": JpegImageFile,
    **dict.fromkeys(HEADERS, TiffImageFile),
}
"""The first bytes of a file, and who reads it. Of a JPEG with further pictures behind it the first is read."""


def decode(data: bytes, *, max_pixels: int, mpp: float | None = None) -> Tile:
    """Decode an upload.

    Args:
        data: the uploaded bytes.
        max_pixels: largest width × height.
        mpp: µm per pixel of the upload; None takes what the file declares.

    Raises:
        UnequalAxes: `mpp` is None, and the file says that its pixels are not square.
        InvalidParameter: `mpp` is not one that a microscope can have.
        PipelineError, MemoryError: see `read_picture`.
    """
    check_mpp(mpp)
    pixels, metadata = read_picture(data, max_pixels=max_pixels)
    used, source = chosen_mpp(mpp, metadata.scale)
    return Tile(pixels, hashlib.sha256(data).hexdigest(), used, source, metadata)


def read_picture(data: bytes, *, max_pixels: int) -> tuple[UInt8Array, Metadata]:
    """Return the (H, W, 3) uint8 RGB pixels of a file, and what the file says about them.

    Palette, grey, CMYK and YCbCr become RGB; alpha is laid over white, the colour of an empty slide. The pixels are
    those that are stored: neither an orientation nor a colour profile is applied. Of a pyramid, or of a JPEG with
    further pictures behind it, the first picture is read; any other file with several pictures is refused.

    Args:
        data: the bytes of the file.
        max_pixels: largest width × height, checked in the header before any pixel is decoded.

    Raises:
        UnreadableTile: not a PNG, JPEG or TIFF, or damaged.
        UnsupportedTile: a kind of pixels that is not read, such as 16-bit or floating-point numbers; or several pages.
        TileTooLarge: more than `max_pixels`, in the image or in a block of a TIFF, or a side longer than MAX_SIDE_PX.
        MemoryError: there is too little memory for the pixels.
    """
    if not data:
        raise UnreadableTile("The upload is empty (0 bytes).")
    try:
        return _tiff(data, max_pixels) if data[:4] in HEADERS else _picture(data, max_pixels)
    except (PipelineError, MemoryError):  # a lack of memory is no fault of the file
        raise
    except Exception as error:  # Pillow's decoders report damage with exceptions of many kinds
        raise UnreadableTile("The image is damaged or truncated and cannot be decoded.") from error


def reader_of(start: bytes) -> type[ImageFile] | None:
    """Return who reads a file that starts with these bytes, at least 8 of them; None if it is no PNG, JPEG or TIFF."""
    return next((reader for header, reader in READERS.items() if start.startswith(header)), None)


def _picture(data: bytes, max_pixels: int) -> tuple[UInt8Array, Metadata]:
    """Decode a PNG or JPEG."""
    reader = reader_of(data)
    if reader is None:
        other = other_format(data)
        raise UnreadableTile(
            f"The upload is {other}, which is not read; save the tile as PNG, JPEG or TIFF."
            if other
            else "The upload is not a PNG, JPEG or TIFF image."
        )
    with _opened(reader, data) as image:
        _check_header(image, max_pixels)
        if _is_deep(image):
            raise UnsupportedTile(f"The tile must have 8 bits per channel, found more (mode {image.mode}).")
        _check_mode(image)
        if _has_second_frame(image):
            raise UnsupportedTile("The tile must be a single image, found several frames or pages.")
        return _to_rgb(image), metadata_of(image)


def _tiff(data: bytes, max_pixels: int) -> tuple[UInt8Array, Metadata]:
    """Decode the first page of a TIFF."""
    pages = pages_of(data)
    check_samples(pages[0])
    check_single(pages)
    check_block(pages[0], max_pixels)
    with _opened(TiffImageFile, as_stored(data, pages[0])) as image:
        _check_header(image, max_pixels)
        _check_mode(image)
        image.info.pop("xmp", None)  # XMP can have an orientation, too, and Pillow would turn the picture by it
        return _to_rgb(image), metadata_of_tiff(pages[0], image.info.get("icc_profile"))


def _opened(reader: type[ImageFile], data: bytes) -> ImageFile:
    """Return a picture whose header was read.

    Raises:
        UnsupportedTile: Pillow says that it does not read this kind of pixels.
        SyntaxError: the header is damaged.
    """
    try:
        return reader(io.BytesIO(data))
    except SyntaxError as error:
        if "-bit layers" in str(error):
            raise UnsupportedTile("The tile must have 8 bits per channel, found a JPEG with more.") from error
        if "pixel" in str(error):  # such as: unknown pixel mode
            raise UnsupportedTile(
                "The tile must be RGB, grey, palette or CMYK; this TIFF has other channels."
            ) from error
        raise


def _check_header(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise TileTooLarge(f"The tile may have at most {max_pixels} pixels, found {width} x {height}.")
    if max(width, height) > MAX_SIDE_PX:
        raise TileTooLarge(f"A side of the tile may have at most {MAX_SIDE_PX} pixels, found {width} x {height}.")
    if width * height == 0:
        raise UnreadableTile("The image has no pixels.")


def _check_mode(image: Image.Image) -> None:
    if image.mode not in MODES:
        raise UnsupportedTile(f"The tile must be RGB, grey, palette or CMYK, found mode {image.mode}.")


def _has_second_frame(image: Image.Image) -> bool:
    """Return whether there is more than one frame, without counting them: many tiny pages take minutes to count."""
    try:
        image.seek(1)
    except EOFError:
        return False
    return True


def _is_deep(image: Image.Image) -> bool:
    """Return whether a channel has more than 8 bits; Pillow gives a 16-bit RGB PNG as RGB and drops the low bytes."""
    # What Pillow is about to decode names the raw mode, such as "RGB;16B".
    return any(";16" in str(layer) for layer in getattr(image, "tile", ()))


def _to_rgb(image: Image.Image) -> UInt8Array:
    image.load()
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        canvas = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return np.ascontiguousarray(Image.alpha_composite(canvas, rgba).convert("RGB"), dtype=np.uint8)
    return np.ascontiguousarray(image.convert("RGB"), dtype=np.uint8)
