import io
import struct

import numpy as np
import pytest
import tifffile

from app.pipeline.decode import decode
from app.pipeline.errors import TileTooLarge
from app.pipeline.headers.tiff_directories import directories
from app.pipeline.headers.tiff_pages import BLOCK_LENGTH, BLOCK_WIDTH
from bench.process import peak_rss_mb

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
LIMIT = 1_000_000
HUGE = 40_000_000
"""Rows; with 16 columns and three channels, a block of 1.9 GB."""


def blocked(**options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, PIXELS, tile=(16, 32), photometric="rgb", compression="zlib", metadata=None, **options)
    return buffer.getvalue()


def block_of(data) -> tuple[list[float], list[float]]:
    """Widths and lengths of blocks in the first directory."""
    found = list(directories(data, frozenset({BLOCK_WIDTH, BLOCK_LENGTH})))
    return (found[0].numbers(BLOCK_WIDTH), found[0].numbers(BLOCK_LENGTH)) if found else ([], [])


def with_lengths(*lengths) -> bytes:
    """The file with these block lengths, in a directory behind its end."""
    data = blocked()
    at = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[at : at + 2])[0]
    entries = []
    for start in range(at + 2, at + 2 + 12 * count, 12):
        entry = data[start : start + 12]
        is_length = struct.unpack("<H", entry[:2])[0] == BLOCK_LENGTH
        entries += [struct.pack("<HHII", BLOCK_LENGTH, 4, 1, length) for length in lengths] if is_length else [entry]
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + directory


@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"bigtiff": True}, {"bigtiff": True, "byteorder": ">"}])
def test_block_is_found_in_every_kind_of_tiff(options):
    assert block_of(blocked(**options)) == ([32], [16])


def test_file_in_blocks_keeps_every_pixel():
    np.testing.assert_array_equal(decode(blocked(), max_pixels=LIMIT).pixels, PIXELS)


def test_file_in_strips_has_no_block():
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, PIXELS, photometric="rgb")
    assert block_of(buffer.getvalue()) == ([], [])


# libtiff takes the first of two entries, Pillow the last.
@pytest.mark.parametrize("lengths", [(HUGE,), (HUGE, 16), (16, HUGE)])
def test_small_file_that_asks_for_a_huge_block_is_refused_and_takes_no_memory(lengths):
    before = peak_rss_mb()
    with pytest.raises(TileTooLarge, match=f"32 x {HUGE}"):
        decode(with_lengths(*lengths), max_pixels=LIMIT)
    assert before is None or peak_rss_mb() < before + 100


@pytest.mark.parametrize("size", [0, 4, 8, 9, 100])
def test_file_that_is_cut_off_has_the_blocks_that_are_left(size):
    assert block_of(blocked()[:size]) in [([], []), ([32], []), ([32], [16])]
