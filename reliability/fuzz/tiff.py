"""Mutations of the tags of TIFF files, and of EXIF data, which has the same form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reliability.fuzz.mutations import Mutation, Rng, number, pick

TAGS: tuple[int, ...] = (
    254,
    256,
    257,
    258,
    259,
    262,
    266,
    273,
    274,
    277,
    278,
    279,
    282,
    284,
    292,
    296,
    301,
    317,
    320,
    322,
    323,
)
TAGS += (324, 325, 330, 338, 339, 347, 530, 532, 700, 34665, 34675, 34853)
COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34676, 34677, 34892, 34925, 50000, 50001, 34712, 33003)
SMALL = 20
"""Most numbers below this one have a meaning in some tag."""
LONGEST = 400
"""Largest number of directory entries that are considered; a damaged file may claim 65,535."""


@dataclass(frozen=True)
class Layout:
    """The layout of the first directory of a TIFF.

    Attributes:
        order: byte order.
        first: position of the first entry, in bytes.
        entries: number of entries.
        step: length of an entry, in bytes.
    """

    order: Literal["little", "big"]
    first: int
    entries: int
    step: int

    @classmethod
    def of(cls, data: bytes) -> Layout | None:
        """Return the layout of a file; None if the file has no readable directory."""
        order: Literal["little", "big"] = "big" if data[:2] == b"MM" else "little"
        is_big = int.from_bytes(data[2:4], order) == 43
        at = int.from_bytes(data[8:16] if is_big else data[4:8], order)
        wide = 8 if is_big else 2
        count = int.from_bytes(data[at : at + wide], order)
        if not 0 < at < len(data) or not count:
            return None
        return cls(order, at + wide, min(count, LONGEST), 20 if is_big else 12)

    def entry(self, rng: Rng) -> int:
        """Return the position of an entry: tag (2 bytes), type (2 bytes), count and value (each half of the rest)."""
        return self.first + self.step * int(rng.integers(self.entries))


def tag_value(data: bytes, rng: Rng) -> bytes:
    """Change the value of a tag, or the position of its value."""
    if (layout := Layout.of(data)) is None:
        return data
    size = (layout.step - 4) // 2
    value = int(rng.integers(SMALL)) if rng.random() < 0.5 else number(rng, 4)
    return _put(data, layout, layout.entry(rng) + 4 + size, value, size)


def tag_count(data: bytes, rng: Rng) -> bytes:
    """Change the number of a tag's values."""
    if (layout := Layout.of(data)) is None:
        return data
    return _put(data, layout, layout.entry(rng) + 4, number(rng, 4), (layout.step - 4) // 2)


def tag_name(data: bytes, rng: Rng) -> bytes:
    """Change a tag into another."""
    if (layout := Layout.of(data)) is None:
        return data
    return _put(data, layout, layout.entry(rng), pick(TAGS, rng), 2)


def tag_type(data: bytes, rng: Rng) -> bytes:
    """Change the type of a tag's values."""
    if (layout := Layout.of(data)) is None:
        return data
    return _put(data, layout, layout.entry(rng) + 2, int(rng.integers(20)), 2)


def compression(data: bytes, rng: Rng) -> bytes:
    """Declare another compression than the one that was used."""
    if (layout := Layout.of(data)) is None:
        return data
    for index in range(layout.entries):
        at = layout.first + layout.step * index
        if data[at : at + 2] == (259).to_bytes(2, layout.order):
            return _put(data, layout, at + 4 + (layout.step - 4) // 2, pick(COMPRESSIONS, rng), 2)
    return data


def next_directory(data: bytes, rng: Rng) -> bytes:
    """Declare a further directory: in the middle of the file, or the first one again, without end."""
    if (layout := Layout.of(data)) is None:
        return data
    size = (layout.step - 4) // 2
    target = pick((8, 16, int(rng.integers(len(data)))), rng)
    return _put(data, layout, layout.first + layout.step * layout.entries, target, size)


def _put(data: bytes, layout: Layout, at: int, value: int, size: int) -> bytes:
    return data[:at] + (value % 256**size).to_bytes(size, layout.order) + data[at + size :]


MUTATIONS: tuple[Mutation, ...] = (tag_value, tag_value, tag_count, tag_name, tag_type, compression, next_directory)
