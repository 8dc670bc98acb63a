"""Size of the blocks ("tiles") that a TIFF's pixels lie in, as libtiff reads it (TIFF 6.0, section 15; BigTIFF)."""

from __future__ import annotations

from typing import Literal

WIDTH, LENGTH = 322, 323
BYTES_OF_TYPE = {1: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8}
"""Whole numbers only: libtiff ignores the others here."""


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
    found = {WIDTH: 0, LENGTH: 0}
    for start in range(at + wide, min(at + wide + step * count, len(data)), step):
        tag, kind = (int.from_bytes(data[start + shift : start + shift + 2], order) for shift in (0, 2))
        if tag in found and kind in BYTES_OF_TYPE:
            value = data[start + value_at : start + value_at + BYTES_OF_TYPE[kind]]
            found[tag] = max(found[tag], int.from_bytes(value, order))
    return found[WIDTH], found[LENGTH]
