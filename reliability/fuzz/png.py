"""PNG files by hand (RFC 2083): writing ones that no library writes, taking them apart into chunks, and mutating them.

The mutations correct the lengths and CRCs of the chunks that they change, so that the damage gets past the check of the
CRC.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

from reliability.fuzz.mutations import ANYWHERE, Mutation, Rng, mutated, number, pick

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""Colour type by number of channels."""
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""x0, y0, dx, dy of each pass of interlacing by Adam7."""

KINDS: tuple[bytes, ...] = (
    b"IHDR",
    b"PLTE",
    b"IDAT",
    b"IEND",
    b"tRNS",
    b"gAMA",
    b"cHRM",
    b"sRGB",
    b"iCCP",
    b"tEXt",
    b"zTXt",
    b"iTXt",
)
KINDS += (b"pHYs", b"tIME", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"bKGD", b"abcd", b"ABCD")
BOMB = zlib.compress(bytes(4_000_000), 9)
"""4 MB of text, compressed to 4 kB."""

Chunk = tuple[bytes, bytes]
"""Its type of four letters, and its content."""


def split(data: bytes) -> list[Chunk]:
    """Return the chunks of a well-formed PNG."""
    found, at = [], len(SIGNATURE)
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


def join(chunks: Iterable[Chunk]) -> bytes:
    """Return a file of these chunks, with the right lengths and CRCs."""
    return SIGNATURE + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def write(pixels: np.ndarray, *, interlaced: bool = False) -> bytes:
    """Encode pixels as a PNG without filters.

    Args:
        pixels: (H, W, 1 to 4) uint8 or uint16.
        interlaced: whether the rows are interlaced by Adam7.
    """
    height, width, channels = pixels.shape
    deep = pixels.astype(pixels.dtype.newbyteorder(">"))
    header = struct.pack(
        ">IIBBBBB", width, height, 8 * pixels.dtype.itemsize, COLOUR_TYPES[channels], 0, 0, int(interlaced)
    )
    body = b"".join(_rows(deep, ADAM7 if interlaced else ((0, 0, 1, 1),)))
    return join([(b"IHDR", header), (b"IDAT", zlib.compress(body, 9)), (b"IEND", b"")])


def _rows(pixels: np.ndarray, passes: Iterable[tuple[int, int, int, int]]) -> Iterator[bytes]:
    """Yield each row of each pass, preceded by the number of its filter, which is 0 for none."""
    for x0, y0, dx, dy in passes:
        for row in pixels[y0::dy, x0::dx]:
            if row.size:
                yield b"\0" + row.tobytes()


def _chunks(change: Mutation) -> Mutation:
    """Return a mutation that changes one chunk's content and corrects its length and CRC."""

    def changed(data: bytes, rng: Rng) -> bytes:
        chunks = split(data)
        if not chunks:
            return data
        at = int(rng.integers(len(chunks)))
        kind, content = chunks[at]
        return join([*chunks[:at], (kind, change(content, rng)), *chunks[at + 1 :]])

    return changed


def header_field(data: bytes, rng: Rng) -> bytes:
    """Change the width, height, depth, colour type, compression, filter or interlacing."""
    size = pick((4, 1), rng)
    at = pick((0, 4) if size == 4 else (8, 9, 10, 11, 12), rng)
    chunks = split(data)
    if not chunks:
        return data
    kind, content = chunks[0]
    value = number(rng, 4) if size == 4 else int(rng.integers(18))
    return join([(kind, content[:at] + value.to_bytes(size, "big") + content[at + size :]), *chunks[1:]])


def rearrange(data: bytes, rng: Rng) -> bytes:
    """Repeat, remove, move or rename a chunk."""
    chunks = split(data)
    if not chunks:
        return data
    kind, content = chunks.pop(int(rng.integers(len(chunks))))
    for _ in range(pick((0, 1, 2, 50), rng)):
        name = pick(KINDS, rng) if rng.random() < 0.3 else kind
        chunks.insert(int(rng.integers(len(chunks) + 1)), (name, content))
    return join(chunks)


def add_chunk(data: bytes, rng: Rng) -> bytes:
    """Add a chunk of noise, of numbers or of a text that is large once it is decompressed."""
    contents = (
        rng.bytes(int(rng.integers(64))),
        struct.pack(">7I", *(number(rng, 4) for _ in range(7))),
        b"name\0\0" + BOMB,
        b"name\0\x01\0\0\0" + BOMB,
    )
    chunks: list[Chunk] = split(data)
    chunks.insert(int(rng.integers(len(chunks) + 1)), (pick(KINDS, rng), pick(contents, rng)))
    return join(chunks)


def repack(data: bytes, rng: Rng) -> bytes:
    """Damage the rows, and compress them again."""
    chunks = split(data)
    try:
        body = zlib.decompress(b"".join(content for kind, content in chunks if kind == b"IDAT"))
    except zlib.error:
        return data
    rest = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
    return join([*rest[:-1], (b"IDAT", zlib.compress(mutated(body, ANYWHERE, rng))), *rest[-1:]])


def false_length(data: bytes, rng: Rng) -> bytes:
    """Declare a wrong length of a chunk."""
    at = len(SIGNATURE)
    for _, content in split(data)[: int(rng.integers(4))]:
        at += 12 + len(content)
    return data[:at] + number(rng, 4).to_bytes(4, "big") + data[at + 4 :]


MUTATIONS: tuple[Mutation, ...] = (
    *map(_chunks, ANYWHERE),
    header_field,
    header_field,
    rearrange,
    add_chunk,
    repack,
    false_length,
)
