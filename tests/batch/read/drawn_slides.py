"""Small slides from known pixels, so that what is read from them is known too."""

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from tests.drawing import draw_tile, grid_of_centres


def drawn_pixels(width=600, height=500, seed=0) -> NDArray[np.uint8]:
    """An H&E picture with nuclei everywhere."""
    return draw_tile(grid_of_centres((height, width)), shape=(height, width), seed=seed)


def halves(pixels, levels) -> list[NDArray[np.uint8]]:
    """The pixels, and their means over 2 x 2, 4 x 4, … px; odd rows and columns at the end are left out."""
    found = [pixels]
    for _ in range(levels - 1):
        height, width = (side // 2 for side in found[-1].shape[:2])
        blocks = found[-1][: 2 * height, : 2 * width].reshape(height, 2, width, 2, -1)
        found.append(np.rint(blocks.mean((1, 3))).astype(np.uint8))
    return found


def resolution_of(mpp, level=0) -> dict:
    """The tags that say `mpp` of a picture whose level 0 it is."""
    if mpp is None:
        return {}
    per_cm = 10_000 / (mpp * 2**level)
    return {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}


def write_pyramid(path, pixels, mpp=0.25, tile=256, levels=3, compression="jpeg", **options) -> Path:
    """A tiled TIFF whose levels are pages, each half of the one before; OpenSlide calls it generic."""
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for i, level in enumerate(halves(pixels, levels)):
            kind = {"photometric": "rgb", "tile": (tile, tile), "compression": compression, "metadata": None}
            writer.write(level, subfiletype=1 if i else 0, **{**kind, **resolution_of(mpp, i), **options})
    return path


def write_striped(path, pixels, mpp=0.25, rows=64, compression="deflate", **options) -> Path:
    """A TIFF of one level, in strips."""
    kind = {"photometric": "rgb", "rowsperstrip": rows, "compression": compression, "metadata": None}
    tifffile.imwrite(path, pixels, **{**kind, **resolution_of(mpp), **options})
    return path


SCN = """<?xml version="1.0"?>
<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection sizeX="{across}" sizeY="{down}">
<image><device model="Leica SCN400"/><pixels sizeX="32" sizeY="32"><dimension sizeX="32" sizeY="32" r="0" ifd="0"/>
</pixels><view sizeX="{across}" sizeY="{down}" offsetX="0" offsetY="0"/><scanSettings><objectiveSettings>
<objective>1</objective></objectiveSettings><illuminationSettings><illuminationSource>brightfield</illuminationSource>
</illuminationSettings></scanSettings></image>
<image><device model="Leica SCN400"/><pixels sizeX="{width}" sizeY="{height}">{dimensions}</pixels>
<view sizeX="{view_x}" sizeY="{view_y}" offsetX="{x}" offsetY="{y}"/><scanSettings><objectiveSettings>
<objective>40</objective></objectiveSettings><illuminationSettings><illuminationSource>brightfield</illuminationSource>
</illuminationSettings></scanSettings></image></collection></scn>"""


def write_leica(path, pixels, mpp=0.25, at=(96, 64), canvas=(1024, 1024), levels=2, compression="deflate") -> Path:
    """An SCN slide of Leica: a scanned part, which OpenSlide calls its bounds, at x, y of a larger canvas."""
    pictures, nm = halves(pixels, levels), mpp * 1000
    sizes = [one.shape[1::-1] for one in pictures]
    dimensions = [f'<dimension sizeX="{w}" sizeY="{h}" r="{i}" ifd="{i + 1}"/>' for i, (w, h) in enumerate(sizes)]
    (width, height), nanometres = sizes[0], [round(side * nm) for side in (*canvas, *sizes[0], *at)]
    names = dict(zip(("across", "down", "view_x", "view_y", "x", "y"), nanometres, strict=True))
    text = SCN.format(width=width, height=height, dimensions="".join(dimensions), **names)
    options = {"photometric": "rgb", "tile": (64, 64), "compression": compression, "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(np.full((32, 32, 3), 255, np.uint8), description=text, **options)
        for i, picture in enumerate(pictures):
            writer.write(picture, **options, **resolution_of(mpp, i))
    return path


def write_aperio(path, pixels, mpp=0.25, tile=128, levels=2, compression="deflate", power=40, **tags) -> Path:
    """A slide that OpenSlide takes for one of Aperio's: tiled levels, described as their scanner does."""
    with tifffile.TiffWriter(path, bigtiff=False) as writer:
        for level in halves(pixels, levels):
            height, width = level.shape[:2]
            scale = "" if mpp is None else f"|MPP = {mpp}"
            text = f"Aperio Image Library v12\r\n{width}x{height} ({tile}x{tile})|AppMag = {power}{scale}"
            options = {"photometric": "rgb", "tile": (tile, tile), "compression": compression, "metadata": None}
            writer.write(level, description=text, subfiletype=0, **options, **tags)
    return path
