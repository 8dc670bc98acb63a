"""TIFFs of any size, in strips or tiles: only those that a window touches are decoded."""

from __future__ import annotations

import logging
import math
import struct
from pathlib import Path

import numpy as np
from tifffile import COMPRESSION, PHOTOMETRIC, TiffFile, TiffPage

from app.batch.read.resampling import Box, read_window
from app.batch.read.slide import MAX_BLOCK_PIXELS, SlideError, Window, whole_canvas
from app.pipeline.headers.declared_scale import scale_of_tiff
from app.pipeline.headers.metadata import AS_STORED, ORIENTATION, Metadata, profile_name
from app.pipeline.types import UInt8Array

# The library logs every oddity of a file; what matters is raised once, as an error.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

JPEG = frozenset({COMPRESSION.OJPEG, COMPRESSION.JPEG, COMPRESSION.ALT_JPEG, COMPRESSION.JPEG_LOSSY})
GREY = frozenset({PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE})
ICC_PROFILE = 34675
"""Tag of the embedded ICC profile."""
PREMULTIPLIED, ALPHA = 1, 2
"""Values of the tag ExtraSamples."""


class TiffSlide:
    """A TIFF with levels that `check_pixels` accepts; closing the slide closes the file."""

    def __init__(self, path: Path, file: TiffFile) -> None:
        self._path = path
        self._file = file
        self._levels = levels_of(file)
        self._sizes = [(page.imagewidth, page.imagelength) for page in self._levels]
        self.width, self.height = self._sizes[0]
        self.frame = whole_canvas(self.width, self.height)
        self.metadata = metadata_of_slide(file)

    def read(self, window: Window, downsample: float = 1.0) -> UInt8Array:
        """Read a part of the slide, as `app.batch.read.slide.Slide` describes."""
        try:
            in_strips = not self._levels[0].is_tiled
            return read_window(self._sizes, window, downsample, self._read_level, in_strips)
        except MemoryError:  # too little memory is not the fault of the file
            raise
        except Exception as error:  # the decoders report damage with exceptions of many kinds
            raise SlideError(f"The slide is damaged near x {window.x}, y {window.y}.") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read_level(self, level: int, box: Box) -> UInt8Array:
        page = self._levels[level]
        return _to_rgb(page, self._mapped(page, box) if page.is_memmappable else self._decoded(page, box))

    def _mapped(self, page: TiffPage, box: Box) -> UInt8Array:
        """Return (h, w, channels) of a page whose pixels are in the file uncompressed."""
        # It is mapped anew each time: pixels that were read once would count as used memory until the file is closed.
        pixels = np.memmap(self._path, np.uint8, "r", page.dataoffsets[0], page.shaped)
        return _channels_last(np.array(pixels[:, 0, box.y0 : box.y1, box.x0 : box.x1]))

    def _decoded(self, page: TiffPage, box: Box) -> UInt8Array:
        """Return (h, w, channels), decoded block by block; blocks that the file leaves out are white, as glass is."""
        planes, _, length, width, channels = page.shaped
        tall, wide = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, width)
        rows, columns = -(-length // tall), -(-width // wide)
        white = 0 if page.photometric == PHOTOMETRIC.MINISWHITE else 255
        pixels = np.full((planes, box.y1 - box.y0, box.x1 - box.x0, channels), white, np.uint8)
        for plane in range(planes):
            for row in range(box.y0 // tall, -(-box.y1 // tall)):
                for column in range(box.x0 // wide, -(-box.x1 // wide)):
                    block = self._block(page, (plane * rows + row) * columns + column)
                    if block is not None:
                        _paste(pixels[plane], block, column * wide - box.x0, row * tall - box.y0)
        return _channels_last(pixels)

    def _block(self, page: TiffPage, index: int) -> UInt8Array | None:
        """Return (h, w, channels) of one strip or tile; None if the file leaves it out."""
        n_bytes = page.databytecounts[index]
        if n_bytes == 0:
            return None
        self._file.filehandle.seek(page.dataoffsets[index])
        data = self._file.filehandle.read(n_bytes)
        if len(data) < n_bytes:
            raise EOFError(f"block {index} has {n_bytes} bytes, found {len(data)}")
        tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if page.compression in JPEG else {}
        block: UInt8Array = np.asarray(page.decode(data, index, **tables)[0], dtype=np.uint8)[0]
        return block


def levels_of(file: TiffFile) -> list[TiffPage]:
    """Return the page of each level of the first picture, the largest first; a picture of the glass label is left out.

    Raises:
        SlideError: the file holds no picture, or a stack of several.
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
    """Refuse a page that is not 8-bit grey or RGB, or whose strips or tiles are too large.

    Raises:
        SlideError: the page cannot be used; the text says what it is.
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
    """Whether the page is grey. A second channel must be marked as alpha, because it could be another dye."""
    return page.photometric in GREY and (
        page.samplesperpixel == 1
        or (page.samplesperpixel == 2 and page.extrasamples[:1] in ((PREMULTIPLIED,), (ALPHA,)))
    )


def _is_colour(page: TiffPage) -> bool:
    """Whether the page is RGB. A fourth channel may be anything: if it is not alpha, it is left out."""
    is_rgb = page.photometric == PHOTOMETRIC.RGB
    is_decoded_to_rgb = page.photometric == PHOTOMETRIC.YCBCR and page.compression in JPEG
    return (is_rgb or is_decoded_to_rgb) and page.samplesperpixel - len(page.extrasamples) == 3


def check_complete(file: TiffFile, levels: list[TiffPage]) -> None:
    """Refuse a file whose end is missing, before hours are spent on its beginning.

    Raises:
        SlideError: a strip, a tile or the next page would lie beyond the end of the file, or is not listed at all.
    """
    size = file.filehandle.size
    ends = [int(np.add(page.dataoffsets, page.databytecounts).max(initial=0)) for page in levels]
    is_short = any(len(page.dataoffsets) < math.prod(page.chunked) for page in levels)
    if is_short or max(ends) > size or _next_page(file):
        raise SlideError(f"The TIFF is damaged or truncated: parts of it lie beyond its end at {size} bytes.")


def _next_page(file: TiffFile) -> int:
    """Return the place of the page that should follow the last one that was found; 0 if the file is complete."""
    form, handle = file.tiff, file.filehandle
    handle.seek(file.pages[-1].offset)
    (n_tags,) = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))
    handle.seek(n_tags * form.tagsize, 1)
    (offset,) = struct.unpack(form.offsetformat, handle.read(form.offsetsize))
    return int(offset)


def metadata_of_slide(file: TiffFile) -> Metadata:
    """Return what the first page of the first picture says, and for OME its XML; the page holds level 0."""
    page = file.series[0].keyframe
    scale = scale_of_tiff(file.ome_metadata or page.description, page.resolution, int(page.resolutionunit or 1))
    return Metadata(scale, orientation_of(page), profile_name(page.tags.valueof(ICC_PROFILE)))


def orientation_of(page: TiffPage) -> int:
    """Return the tag Orientation of a page, 1 to 8; 1 if there is none, or one that is not defined."""
    value = page.tags.valueof(ORIENTATION)
    return value if value in range(1, 9) else AS_STORED


def _paste(onto: UInt8Array, block: UInt8Array, x: int, y: int) -> None:
    """Copy a block to x, y of a picture, as far as it lies within the picture."""
    x0, y0 = max(x, 0), max(y, 0)
    inside = block[y0 - y : onto.shape[0] - y, x0 - x : onto.shape[1] - x]
    onto[y0 : y0 + inside.shape[0], x0 : x0 + inside.shape[1]] = inside


def _channels_last(pixels: UInt8Array) -> UInt8Array:
    """(planes, h, w, channels) → (h, w, planes or channels); planes or channels is 1."""
    return pixels[0] if len(pixels) == 1 else np.moveaxis(pixels[..., 0], 0, -1)


def _to_rgb(page: TiffPage, pixels: UInt8Array) -> UInt8Array:
    """Return (h, w, 3) of grey or RGB pixels, laid over white if they have alpha."""
    n_colours = page.samplesperpixel - len(page.extrasamples)
    colours = pixels[..., :n_colours]
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        colours = 255 - colours
    if page.extrasamples and page.extrasamples[0] in (PREMULTIPLIED, ALPHA):
        colours = _over_white(colours, pixels[..., n_colours, None], page.extrasamples[0] == PREMULTIPLIED)
    return np.ascontiguousarray(np.broadcast_to(colours, (*pixels.shape[:2], 3)))


def _over_white(colours: UInt8Array, alpha: UInt8Array, is_premultiplied: bool) -> UInt8Array:
    share = alpha / np.float32(255)
    lit = colours if is_premultiplied else colours * share
    return np.rint(np.minimum(lit + 255 * (1 - share), 255)).astype(np.uint8)
