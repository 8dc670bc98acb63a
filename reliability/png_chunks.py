"""PNG by hand (RFC 2083): files that no library writes, and files taken apart into chunks."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""Colour type for each number of channels."""
# x0, y0, dx, dy of Adam7's passes.
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))

Chunk = tuple[bytes, bytes]
"""Type of four letters, content."""


def split(data: bytes) -> list[Chunk]:
    """Chunks of a well-formed PNG."""
    found, at = [], len(SIGNATURE)
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


def join(chunks: Iterable[Chunk]) -> bytes:
    """A file of these chunks, every length and CRC right."""
    return SIGNATURE + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def write(pixels: np.ndarray, *, interlaced: bool = False) -> bytes:
    """A PNG without filters.

    Args:
        pixels: (H, W, 1–4) uint8 or uint16.
        interlaced: by Adam7.
    """
    height, width, channels = pixels.shape
    deep = pixels.astype(pixels.dtype.newbyteorder(">"))
    header = struct.pack(
        ">IIBBBBB", width, height, 8 * pixels.dtype.itemsize, COLOUR_TYPES[channels], 0, 0, int(interlaced)
    )
    body = b"".join(_rows(deep, ADAM7 if interlaced else ((0, 0, 1, 1),)))
    return join([(b"IHDR", header), (b"IDAT", zlib.compress(body, 9)), (b"IEND", b"")])


def _rows(pixels: np.ndarray, passes: Iterable[tuple[int, int, int, int]]) -> Iterator[bytes]:
    """Each row of each pass, behind the number of its filter: 0, none."""
    for x0, y0, dx, dy in passes:
        for row in pixels[y0::dy, x0::dx]:
            if row.size:
                yield b"\0" + row.tobytes()
