"""`python -m reliability overlay`: one tile as three kinds of slides, with their nuclei where QuPath would show them.

The pixels and their scale are read as QuPath reads them: by OpenSlide within the bounds that a slide states, or the
first level of an OME-TIFF. The outlines are those of the file cells.geojson that a batch writes. So a shift or a wrong
scale shows, in the picture and in the share of nuclei that lie on those of the first slide.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely
import tifffile
from openslide import OpenSlide
from PIL import Image, ImageDraw
from shapely.affinity import scale

from bench.tiles import UInt8Array, default_tiles, mirrored, read_pixels
from reliability.cases.drive import analysed_as_batch
from reliability.cases.inputs import write_aperio, write_bounds, write_ome
from reliability.report import FOLDER

SIDE_PX = 1200
SHOWN_UM = (300.0, 75.0)
"""Edges of what the picture shows of each slide: all of it, and its upper left part."""
SHOWN_PX = 480
FIGURE = FOLDER / "overlay.jpg"
GREEN = (0, 200, 0)
SAME = 0.5
"""Least overlap, as intersection over union, of outlines of the same nucleus."""


def measure(figure: Path | None = FIGURE) -> dict[str, Any]:
    """Analyse the three slides by batches, and draw what came back over what QuPath shows.

    Args:
        figure: the JPEG to write; None writes none.

    Returns:
        `tile`: the name of the file with the tile. `slides`: for each its size as QuPath shows it, its frame, its scale
        and where that comes from, its number of nuclei, and the share of the nuclei of the first slide whose outline
        one of its own overlaps by SAME or more.
    """
    source = default_tiles()[0]
    tile = mirrored(read_pixels(source), SIDE_PX)
    half = np.asarray(cv2.resize(tile, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    rows: list[dict[str, Any]] = []
    columns: list[UInt8Array] = []
    first: list[shapely.Polygon] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in (
            write_aperio(folder / "a.svs", tile, "AppMag = 40|MPP = 0.25"),
            write_ome(folder / "b.ome.tif", half),
            write_bounds(folder / "c.scn", tile),
        ):
            came = analysed_as_batch(path)
            pixels, mpp = as_qupath_shows(path)
            nuclei = [shapely.Polygon(feature["geometry"]["coordinates"][0]) for feature in came["features"]]
            in_um = [scale(nucleus, mpp, mpp, origin=(0, 0)) for nucleus in nuclei]
            first = first or in_um
            columns.append(np.vstack([_drawn(pixels, nuclei, round(shown / mpp)) for shown in SHOWN_UM]))
            rows.append(
                {
                    "slide": path.name,
                    "width": pixels.shape[1],
                    "height": pixels.shape[0],
                    "frame": came["frame"],
                    "mpp": came["mpp"],
                    "mpp_source": came["mpp_source"],
                    "nuclei": len(nuclei),
                    "on_those_of_the_first": share_found(first, in_um),
                }
            )
    if figure is not None:
        figure.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.hstack(columns)).save(figure, quality=75, optimize=True)
    return {"tile": source.name, "slides": rows}


def as_qupath_shows(path: Path) -> tuple[UInt8Array, float]:
    """Return the pixels of level 0 that QuPath shows, (H, W, 3) uint8, and µm per pixel."""
    if path.name.endswith(".ome.tif"):
        with tifffile.TiffFile(path) as file:
            pixels = file.series[0].keyframe.asarray()
            return np.asarray(pixels, np.uint8), float(_attribute(file.ome_metadata or "", "PhysicalSizeX"))
    with OpenSlide(path) as slide:
        whole = dict(zip(("x", "y", "width", "height"), (0, 0, *slide.dimensions), strict=True))
        x, y, *size = (int(slide.properties.get(f"openslide.bounds-{side}", value)) for side, value in whole.items())
        region = slide.read_region((x, y), 0, (size[0], size[1])).convert("RGB")
        return np.asarray(region, np.uint8), float(slide.properties["openslide.mpp-x"])


def share_found(nuclei: list[shapely.Polygon], others: list[shapely.Polygon]) -> float:
    """Return the share of nuclei of which one of the others overlaps SAME or more."""
    tree = shapely.STRtree(others)
    found = [max((_overlap(one, others[i]) for i in tree.query(one)), default=0.0) >= SAME for one in nuclei]
    return float(np.mean(found))


def _overlap(one: shapely.Polygon, other: shapely.Polygon) -> float:
    """Return the intersection of two polygons over their union."""
    return float(one.intersection(other).area / one.union(other).area)


def _drawn(pixels: UInt8Array, nuclei: list[shapely.Polygon], edge: int) -> UInt8Array:
    """Return the upper left square of the pixels, SHOWN_PX wide, with its nuclei, which follow the edges of pixels."""
    zoom = SHOWN_PX / edge
    picture = Image.fromarray(pixels[:edge, :edge]).resize((SHOWN_PX, SHOWN_PX), Image.Resampling.BICUBIC)
    canvas = ImageDraw.Draw(picture)
    for nucleus in nuclei:
        canvas.line([(x * zoom, y * zoom) for x, y in nucleus.exterior.coords], fill=GREEN, width=2)
    return np.asarray(picture)


def _attribute(xml: str, name: str) -> str:
    """Return the first value of an attribute in XML that was written here."""
    return xml.partition(f'{name}="')[2].partition('"')[0]
