"""Mutations of JPEG files: of the sizes, tables and markers of their segments, and of the EXIF data within."""

from __future__ import annotations

from collections.abc import Iterator

from reliability.fuzz import tiff
from reliability.fuzz.mutations import ANYWHERE, Mutation, Rng, mutated, number, pick

MARKERS = bytes([0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xC9, 0xCA, 0xCC, 0xD0, 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xDE])
MARKERS += bytes([0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE, 0x01, 0xF0])
FRAMES = frozenset({0xC0, 0xC1, 0xC2})
EXIF = b"Exif\0\0"


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker, the beginning and the end of each segment's content, up to the scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, at + 4, at + 2 + size
        if marker == 0xDA:
            return
        at += 2 + size


def frame_field(data: bytes, rng: Rng) -> bytes:
    """Change the depth, height, width, number of components or sampling."""
    for marker, start, _ in segments(data):
        if marker in FRAMES:
            at, size = pick(((0, 1), (1, 2), (3, 2), (5, 1), (6, 1), (7, 1), (8, 1)), rng)
            at += start
            return data[:at] + number(rng, size).to_bytes(size, "big") + data[at + size :]
    return data


def segment_content(data: bytes, rng: Rng) -> bytes:
    """Damage the content of a segment and correct its length."""
    if not (found := list(segments(data))):
        return data
    _, start, end = pick(found, rng)
    content = mutated(data[start:end], ANYWHERE, rng)[:65_000]
    return data[: start - 2] + (len(content) + 2).to_bytes(2, "big") + content + data[end:]


def marker_name(data: bytes, rng: Rng) -> bytes:
    """Change a marker."""
    if not (found := list(segments(data))):
        return data
    at = pick(found, rng)[1] - 3
    return data[:at] + bytes([pick(MARKERS, rng)]) + data[at + 1 :]


def rearrange(data: bytes, rng: Rng) -> bytes:
    """Repeat a segment elsewhere, or remove it."""
    if not (found := list(segments(data))):
        return data
    (_, start, end), (_, other, _) = pick(found, rng), pick(found, rng)
    if rng.random() < 0.3:
        return data[: start - 4] + data[end:]
    return data[: other - 4] + data[start - 4 : end] * pick((1, 2, 50), rng) + data[other - 4 :]


def exif(data: bytes, rng: Rng) -> bytes:
    """Damage the tags of the EXIF segment."""
    for _, start, end in segments(data):
        if data[start:end].startswith(EXIF):
            start += len(EXIF)
            tags = pick(tiff.MUTATIONS, rng)(data[start:end], rng)
            return data[:start] + tags[: end - start] + data[end:]
    return data


def scan(data: bytes, rng: Rng) -> bytes:
    """Damage the compressed pixels only."""
    end = max((end for _, _, end in segments(data)), default=0)
    return data[:end] + mutated(data[end:], ANYWHERE, rng)


MUTATIONS: tuple[Mutation, ...] = (frame_field, frame_field, segment_content, marker_name, rearrange, exif, scan)
