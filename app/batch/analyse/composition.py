"""What the tissue of a slide consists of: the class maps of its tiles, without their margins, put together."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from app.batch.folder import BatchFolder
from app.batch.plan.grid import core_of
from app.batch.plan.plan import Plan
from app.batch.plan.regions import union
from app.batch.read.slide import Slide, Window
from app.pipeline.tissue.classes import BACKGROUND, CLASSES, Composition
from app.pipeline.tissue.compose import MAP_MPP, compose
from app.pipeline.types import BoolArray, Nuclei, Stain, UInt8Array

CLASS_MAP = b"tissue_classes"
"""The key in the metadata of a tile's table under which the class map of its core is kept, a PNG in base64."""
CONTEXT_UM = 130
"""How far the surroundings of a core reach, µm: as far as the largest fat vacuole is wide."""
MAP_PX = 1600
"""The longer edge of the class map of a whole slide is at most this; the map of a small slide has the scale of its
tiles."""


@dataclass(frozen=True, slots=True)
class SlideTissue:
    """The tissue of a slide and of its regions.

    Attributes:
        whole: that of the slide, or of its regions together, where an area in several regions counts once.
        regions: that of each region.
        classes: (h, w) uint8 the class map of the whole slide; BACKGROUND where nothing was analysed.
    """

    whole: Composition
    regions: tuple[Composition, ...]
    classes: UInt8Array


def core_classes(slide: Slide, plan: Plan, core: Window, seen: Stain, nuclei: Nuclei, window: Window) -> UInt8Array:
    """Find what the tissue of a core is, from the core and so much round it that vacuoles at its edge are whole.

    That is more than the margin in which nuclei are sought, and at a lower scale.

    Args:
        slide: the open slide.
        plan: the plan of the slide.
        core: the core.
        seen: the core with its margin, unmixed.
        nuclei: the nuclei of the core and of its margin.
        window: the core with its margin.

    Returns:
        (h, w) uint8 the class map of the core.

    Raises:
        SlideError: a part of the slide is damaged.
    """
    reach = max(math.ceil(CONTEXT_UM / plan.um_per_px), core.x - window.x, core.y - window.y)
    wide = core.grown(reach, plan.width, plan.height)
    pixels = slide.read(wide, max(plan.downsample, MAP_MPP / plan.um_per_px))
    height, width = pixels.shape[:2]
    to_map = height / wide.height, width / wide.width
    y0, x0 = round((window.y - wide.y) * to_map[0]), round((window.x - wide.x) * to_map[1])
    y1 = min(height, round((window.y + window.height - wide.y) * to_map[0]))
    x1 = min(width, round((window.x + window.width - wide.x) * to_map[1]))
    label_image = np.zeros((height, width), np.int32)
    reduced = cv2.resize(nuclei.label_image, (x1 - x0, y1 - y0), interpolation=cv2.INTER_NEAREST_EXACT)
    label_image[y0:y1, x0:x1] = reduced
    mpp = plan.um_per_px / math.sqrt(to_map[0] * to_map[1])
    return core_of_map(compose(pixels, seen, replace(nuclei, label_image=label_image), mpp).classes, wide, core)


def core_of_map(classes: UInt8Array, window: Window, core: Window) -> UInt8Array:
    """Cut the class map of a core out of that of a window which holds it."""
    height, width = classes.shape
    first = np.array([core.y - window.y, core.x - window.x])
    last, scale = np.add(first, (core.height, core.width)), np.divide(classes.shape, (window.height, window.width))
    (y0, x0), (y1, x1) = (np.rint(at * scale).astype(int).tolist() for at in (first, last))
    # Of a core that is narrower than a pixel of the map, one pixel is left.
    y0, x0 = min(y0, height - 1), min(x0, width - 1)
    return classes[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]


def pack_classes(classes: UInt8Array) -> bytes:
    """Return a class map as bytes for the metadata of a table."""
    return base64.b64encode(cv2.imencode(".png", np.ascontiguousarray(classes))[1].tobytes())


def _unpack(schema: pa.Schema) -> UInt8Array:
    packed = np.frombuffer(base64.b64decode((schema.metadata or {})[CLASS_MAP]), np.uint8)
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_UNCHANGED), np.uint8)


def slide_tissue(folder: BatchFolder, plan: Plan) -> SlideTissue | None:
    """Put the class maps of all tiles together. What belongs to no tile has no tissue, and is background.

    Args:
        folder: the folder of the batch.
        plan: the plan of the slide, whose tiles were all analysed.

    Returns:
        None if the slide has no stain, so that nothing of it was analysed.

    Raises:
        OSError: the table of a tile cannot be read.
    """
    if plan.stain is None:
        return None
    wanted = shapely.from_wkt([region.wkt for region in plan.regions])
    everything = union(plan.regions) if plan.regions else shapely.box(0, 0, plan.width, plan.height)
    parts = np.array([everything, *wanted], object)
    shapely.prepare(parts)
    areas = np.zeros((len(parts), len(CLASSES)))
    px = max(MAP_MPP / plan.um_per_px, max(plan.width, plan.height) / MAP_PX)
    rows, columns = (max(1, round(side / px)) for side in (plan.height, plan.width))
    classes = np.full((rows, columns), BACKGROUND, np.uint8)
    for number, (x, y) in enumerate(plan.tiles):
        core = core_of(x, y, plan.width, plan.height, plan.tile_px)
        of_core = _unpack(pq.read_schema(folder.tile(plan.slide, number)))
        px_area = core.width * core.height / of_core.size
        for areas_of_part, part in zip(areas, parts, strict=True):
            inside = _inside(part, core, of_core.shape)
            areas_of_part += np.bincount(of_core[inside], minlength=len(CLASSES)) * px_area
        _show(classes, of_core, core, plan)
    beyond = shapely.area(parts) - areas.sum(axis=1)
    areas[:, BACKGROUND] += beyond.clip(min=0)
    px_mm2 = (plan.um_per_px / 1000) ** 2
    whole, *regions = (Composition(found, float(found.sum() * px_mm2), is_stained=True) for found in areas)
    return SlideTissue(whole, tuple(regions), classes)


def _inside(part: shapely.Geometry, core: Window, shape: Sequence[int]) -> BoolArray:
    """Return which pixels of a core's class map have their centres in a part of the slide: (h, w) bool."""
    box = shapely.box(core.x, core.y, core.x + core.width, core.y + core.height)
    if part.covers(box):
        return np.ones(shape, bool)
    if not part.intersects(box):
        return np.zeros(shape, bool)
    y = core.y + (np.arange(shape[0]) + 0.5) * core.height / shape[0]
    x = core.x + (np.arange(shape[1]) + 0.5) * core.width / shape[1]
    return np.asarray(shapely.contains_xy(part, *np.meshgrid(x, y)))


def _show(classes: UInt8Array, of_core: UInt8Array, core: Window, plan: Plan) -> None:
    """Put the class map of a core into that of the slide: each pixel of the latter shows what its centre is."""
    places, sources = [], []
    for n, whole, first, size, of in (
        (classes.shape[0], plan.height, core.y, core.height, of_core.shape[0]),
        (classes.shape[1], plan.width, core.x, core.width, of_core.shape[1]),
    ):
        centres = (np.arange(n) + 0.5) * whole / n
        place = np.flatnonzero((centres >= first) & (centres < first + size))
        places.append(place)
        sources.append(((centres[place] - first) * of / size).astype(int).clip(max=of - 1))
    classes[np.ix_(*places)] = of_core[np.ix_(*sources)]
