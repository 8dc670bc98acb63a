"""Striped or tiled TIFFs of any size: only the strips or tiles that a window touches are decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tifffile import PHOTOMETRIC, TiffFile, TiffPage

from app.batch.read.resampling import Box, read_window
from app.batch.read.slide import SlideError, Window
from app.batch.read.tiff_facts import ALPHA, JPEG, PREMULTIPLIED, levels_of, mpp_of
from app.pipeline.types import UInt8Array


class TiffSlide:
    """A TIFF whose levels passed `check_pixels`; the open file is closed with it."""

    def __init__(self, path: Path, file: TiffFile) -> None:
        self._path = path
        self._file = file
        self._levels = levels_of(file)
        self._sizes = [(page.imagewidth, page.imagelength) for page in self._levels]
        self.width, self.height = self._sizes[0]
        self.mpp = mpp_of(file)

    def read(self, window: Window, downsample: float = 1.0) -> UInt8Array:
        """As `app.batch.read.slide.Slide` says."""
        try:
            in_strips = not self._levels[0].is_tiled
            return read_window(self._sizes, window, downsample, self._read_level, in_strips)
        except MemoryError:  # that there is too little memory is no fault of the file
            raise
        except Exception as error:  # the decoders report damage with exceptions of many kinds
            raise SlideError(f"The slide is damaged near x {window.x}, y {window.y}.") from error

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def _read_level(self, level: int, box: Box) -> UInt8Array:
        page = self._levels[level]
        return _to_rgb(page, self._mapped(page, box) if page.is_memmappable else self._decoded(page, box))

    def _mapped(self, page: TiffPage, box: Box) -> UInt8Array:
        """(h, w, channels) of a page that lies in the file as it is."""
        # Mapped anew each time: what was read of it once would count as used memory until the file is closed.
        pixels = np.memmap(self._path, np.uint8, "r", page.dataoffsets[0], page.shaped)
        return _channels_last(np.array(pixels[:, 0, box.y0 : box.y1, box.x0 : box.x1]))

    def _decoded(self, page: TiffPage, box: Box) -> UInt8Array:
        """(h, w, channels), block by block; blocks that are not in the file are white, as glass is."""
        planes, _, length, width, channels = page.shaped
        tall, wide = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, width)
        rows, columns = -(-length // tall), -(-width // wide)
        white = 0 if page.photometric == PHOTOMETRIC.MINISWHITE else 255
        found = np.full((planes, box.y1 - box.y0, box.x1 - box.x0, channels), white, np.uint8)
        for plane in range(planes):
            for row in range(box.y0 // tall, -(-box.y1 // tall)):
                for column in range(box.x0 // wide, -(-box.x1 // wide)):
                    block = self._block(page, (plane * rows + row) * columns + column)
                    if block is not None:
                        _paste(found[plane], block, column * wide - box.x0, row * tall - box.y0)
        return _channels_last(found)

    def _block(self, page: TiffPage, index: int) -> UInt8Array | None:
        """(h, w, channels) of a strip or tile; None where the file leaves it out."""
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


def _paste(onto: UInt8Array, block: UInt8Array, x: int, y: int) -> None:
    """Copy what of a block with its corner at x, y lies within."""
    x0, y0 = max(x, 0), max(y, 0)
    part = block[y0 - y : onto.shape[0] - y, x0 - x : onto.shape[1] - x]
    onto[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]] = part


def _channels_last(pixels: UInt8Array) -> UInt8Array:
    """(planes, h, w, channels) → (h, w, planes or channels); one of both is 1."""
    return pixels[0] if len(pixels) == 1 else np.moveaxis(pixels[..., 0], 0, -1)


def _to_rgb(page: TiffPage, pixels: UInt8Array) -> UInt8Array:
    """(h, w, 3) of grey or RGB, with white behind where there is alpha."""
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
