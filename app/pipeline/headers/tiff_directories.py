"""The directories of a TIFF, one for each of its pages; the EXIF data of a JPEG or PNG are such a directory, too.

Pillow shows the directory of a page only if it can decode the page. This reader tells what is in a file before anything
is decoded. A hostile file costs little: its directories and their fields are limited in number, a value is read when it
is asked for, and of a long one only the beginning.

Source: TIFF 6.0, sections 2 and 8; the BigTIFF design.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

HEADERS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""The first bytes of a TIFF: little or big endian, classic or BigTIFF."""
MAX_DIRECTORIES = 100
"""Directories that are read: no pyramid has as many levels."""
MAX_FIELDS = 1000
"""Fields of a directory; one with more is damaged, and nothing from it on is read."""
MAX_TEXT_BYTES = 2**20
"""Bytes of one text that are read: descriptions in XML are long, and what matters is at their beginning."""
MAX_NUMBER_BYTES = 1024
"""Bytes of one field of numbers that are read: no tag that describes the pixels has more than a few."""
TEXT = 2
RATIONALS = {"2I", "2i"}
CODES = {1: "B", 2: "s", 3: "H", 4: "I", 5: "2I", 6: "b", 7: "B", 8: "h", 9: "i", 10: "2i", 11: "f", 12: "d", 13: "I"}
CODES |= {16: "Q", 17: "q", 18: "Q"}
"""Codes of the module struct by the type of a field."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a directory.

    Attributes:
        content: its bytes in the file, as far as they are read.
        at: place of the first of them in the file.
        order: byte order as the module struct writes it.
        code: how the module struct writes one value; s for a text.
    """

    content: memoryview
    at: int
    order: str
    code: str

    @property
    def values(self) -> list[float]:
        """Its numbers, those of a rational divided; none for a text."""
        if self.code == "s":
            return []
        whole = len(self.content) // struct.calcsize(self.order + self.code) * struct.calcsize(self.order + self.code)
        values = struct.iter_unpack(self.order + self.code, self.content[:whole])
        if self.code in RATIONALS:
            return [top / bottom if bottom else math.nan for top, bottom in values]
        return [value for (value,) in values]

    @property
    def text(self) -> str:
        """Its text, in UTF-8, or else in Latin-1; empty for numbers."""
        text = bytes(self.content if self.code == "s" else b"").partition(b"\0")[0]
        try:
            return text.decode()
        except UnicodeDecodeError:
            return text.decode("latin-1")


@dataclass(frozen=True, slots=True)
class Directory:
    """The fields of one page that were asked for.

    Attributes:
        fields: fields by tag. A damaged file may have several of one tag, of which libtiff takes the first and Pillow
            the last.
    """

    fields: dict[int, list[Field]]

    def numbers(self, tag: int) -> list[float]:
        """Return the numbers of every field with this tag; none if the page has no such field."""
        return [value for field in self.fields.get(tag, []) for value in field.values]

    def number(self, tag: int) -> float | None:
        """Return the first number of a tag; None if there is none."""
        return next((value for field in self.fields.get(tag, []) for value in field.values), None)

    def whole(self, tag: int, default: int = 0) -> int:
        """Return the first number of a tag as a whole one; `default` if there is none."""
        found = self.number(tag)
        return default if found is None or not math.isfinite(found) else int(found)

    def text(self, tag: int) -> str:
        """Return the first text of a tag; empty if there is none."""
        return next((field.text for field in self.fields.get(tag, [])), "")


def directories(data: bytes, tags: frozenset[int]) -> Iterator[Directory]:
    """Read the directories of a file, in the order of its pages, until one lies beyond its end.

    Args:
        data: the file, or the EXIF data without the prefix that JPEG gives them.
        tags: the tags that are wanted.
    """
    if data[:4] not in HEADERS:
        return
    order = "<" if data[:2] == b"II" else ">"
    is_big = data[2:4] in (b"+\0", b"\0+")
    (at,) = _unpacked(order + ("Q" if is_big else "I"), data, 8 if is_big else 4) or (0,)
    seen: set[int] = set()
    while at not in seen and 0 < at < len(data) and len(seen) < MAX_DIRECTORIES:
        seen.add(at)
        found = _fields(data, at, order, is_big, tags)
        if found is None:
            return
        fields, at = found
        yield Directory(fields)


def _fields(
    data: bytes, at: int, order: str, is_big: bool, tags: frozenset[int]
) -> tuple[dict[int, list[Field]], int] | None:
    """Return the wanted fields of the directory at a place, and the place of the next, 0 if there is none.

    Returns:
        None if the directory has more than MAX_FIELDS.
    """
    count_code, entry, offset = ("Q", "HHQ", "Q") if is_big else ("H", "HHI", "I")
    (count,) = _unpacked(order + count_code, data, at) or (0,)
    if count > MAX_FIELDS:
        return None
    start = at + struct.calcsize(order + count_code)
    inline_at, size = struct.calcsize(order + entry), struct.calcsize(order + entry + offset)
    fields: dict[int, list[Field]] = {}
    for place in range(start, min(start + count * size, len(data) - size + 1), size):
        tag, kind, n = struct.unpack_from(order + entry, data, place)
        if tag in tags and kind in CODES:
            fields.setdefault(tag, []).append(_field(data, place + inline_at, order, offset, kind, n))
    return fields, (_unpacked(order + offset, data, start + count * size) or (0,))[0]


def _field(data: bytes, at: int, order: str, offset: str, kind: int, n: int) -> Field:
    """Return the field whose values, or whose values' place if they are too long, are at a place."""
    size = struct.calcsize(order + CODES[kind]) * n
    if size > struct.calcsize(order + offset):
        (at,) = _unpacked(order + offset, data, at) or (len(data),)
    content = memoryview(data)[at : at + min(size, MAX_TEXT_BYTES if kind == TEXT else MAX_NUMBER_BYTES)]
    return Field(content, at, order, CODES[kind])


def _unpacked(code: str, data: bytes, at: int) -> tuple[int, ...] | None:
    """Return the numbers at a place; None if they lie beyond the end."""
    return struct.unpack_from(code, data, at) if at + struct.calcsize(code) <= len(data) else None
