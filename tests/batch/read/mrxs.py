"""Small MIRAX slides (3DHISTECH), written by hand as OpenSlide's description of the format says."""

import struct
from pathlib import Path

import numpy as np

from tests.batch.read.drawn_slides import halves
from tests.drawing import encoded

VERSION, IDENTITY = b"01.02", b"0123456789ABCDEF0123456789ABCDEF"


def write_mrxs(path, pixels, mpp=0.25, tile=100, levels=2, missing=()) -> Path:
    """An .mrxs file with its folder beside it; `missing` are (row, column) of tiles that were not scanned.

    Width and height of the pixels must be multiples of `tile` times 2 to the power of `levels` - 1.
    """
    folder = path.with_suffix("")
    folder.mkdir()
    path.write_bytes(encoded(np.full((9, 9, 3), 255, np.uint8), "JPEG"))
    across, down = pixels.shape[1] // tile, pixels.shape[0] // tile
    header = VERSION + IDENTITY
    data, pages = bytearray(header), []
    for i, level in enumerate(halves(pixels, levels)):
        items = []
        for y in range(0, level.shape[0], tile):
            for x in range(0, level.shape[1], tile):
                row, column = (y // tile) << i, (x // tile) << i
                if (row, column) not in missing:
                    image = encoded(level[y : y + tile, x : x + tile])
                    items.append((row * across + column, len(data), len(image), 0))
                    data += image
        pages.append(items)
    (folder / "Data0000.dat").write_bytes(data)
    (folder / "Index.dat").write_bytes(header + _index(pages, len(header)))
    (folder / "Slidedat.ini").write_text(_description(across, down, tile, mpp, levels), encoding="utf-8")
    return path


def _index(pages, start) -> bytes:
    """Where each tile of each level lies: the table of the levels, then their pages."""
    root = start + 8
    place = root + 4 * len(pages)
    table, lists = b"", b""
    for items in pages:
        table += struct.pack("<i", place)
        page = struct.pack("<iiii", 0, place + 8, len(items), 0) + b"".join(struct.pack("<iiii", *i) for i in items)
        lists += page
        place += len(page)
    return struct.pack("<ii", root, 0) + table + lists


def _description(across, down, tile, mpp, levels) -> str:
    lines = [
        *("[GENERAL]", "SLIDE_VERSION = 01.02", f"SLIDE_ID = {IDENTITY.decode()}", "OBJECTIVE_MAGNIFICATION = 40"),
        *(f"IMAGENUMBER_X = {across}", f"IMAGENUMBER_Y = {down}"),
        *("[HIERARCHICAL]", "HIER_COUNT = 1", "NONHIER_COUNT = 0", "INDEXFILE = Index.dat"),
        *("HIER_0_NAME = Slide zoom level", f"HIER_0_COUNT = {levels}"),
        *(f"HIER_0_VAL_{i}_SECTION = LEVEL_{i}" for i in range(levels)),
        *("[DATAFILE]", "FILE_COUNT = 1", "FILE_0 = Data0000.dat"),
    ]
    for i in range(levels):
        lines += [f"[LEVEL_{i}]", "OVERLAP_X = 0", "OVERLAP_Y = 0", f"IMAGE_CONCAT_FACTOR = {min(i, 1)}"]
        lines += [f"MICROMETER_PER_PIXEL_{axis} = {mpp * 2**i}" for axis in "XY"]
        lines += ["IMAGE_FORMAT = PNG", "IMAGE_FILL_COLOR_BGR = 16777215"]
        lines += [f"DIGITIZER_WIDTH = {tile}", f"DIGITIZER_HEIGHT = {tile}"]
    return "\r\n".join(lines) + "\r\n"
