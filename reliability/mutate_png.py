"""Damage to a PNG that gets past the CRC: lengths and CRCs are those of the changed chunks."""

from __future__ import annotations

import struct
import zlib

from reliability.mutate import ANYWHERE, Mutation, Rng, mutated, number, pick
from reliability.png_chunks import SIGNATURE, Chunk, join, split

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
"""A compressed text of 4 MB in 4 kB."""


def _chunks(change: Mutation) -> Mutation:
    """The change of one chunk's content, its length and CRC put right."""

    def changed(data: bytes, rng: Rng) -> bytes:
        chunks = split(data)
        if not chunks:
            return data
        at = int(rng.integers(len(chunks)))
        kind, content = chunks[at]
        return join([*chunks[:at], (kind, change(content, rng)), *chunks[at + 1 :]])

    return changed


def header_field(data: bytes, rng: Rng) -> bytes:
    """Another width, height, depth, colour type, compression, filter or interlacing."""
    size = pick((4, 1), rng)
    at = pick((0, 4) if size == 4 else (8, 9, 10, 11, 12), rng)
    chunks = split(data)
    if not chunks:
        return data
    kind, content = chunks[0]
    value = number(rng, 4) if size == 4 else int(rng.integers(18))
    return join([(kind, content[:at] + value.to_bytes(size, "big") + content[at + size :]), *chunks[1:]])


def rearrange(data: bytes, rng: Rng) -> bytes:
    """A chunk repeated, removed, moved or renamed."""
    chunks = split(data)
    if not chunks:
        return data
    kind, content = chunks.pop(int(rng.integers(len(chunks))))
    for _ in range(pick((0, 1, 2, 50), rng)):
        name = pick(KINDS, rng) if rng.random() < 0.3 else kind
        chunks.insert(int(rng.integers(len(chunks) + 1)), (name, content))
    return join(chunks)


def add_chunk(data: bytes, rng: Rng) -> bytes:
    """A chunk that was not there: noise, numbers or a text that is large once it is unpacked."""
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
    """Damage within the compressed rows, compressed again."""
    chunks = split(data)
    try:
        body = zlib.decompress(b"".join(content for kind, content in chunks if kind == b"IDAT"))
    except zlib.error:
        return data
    rest = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
    return join([*rest[:-1], (b"IDAT", zlib.compress(mutated(body, ANYWHERE, rng))), *rest[-1:]])


def false_length(data: bytes, rng: Rng) -> bytes:
    """A length that is not the chunk's."""
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
