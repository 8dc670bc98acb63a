"""The regions of a slide, drawn in QuPath, and which cells lie in them.

In QuPath's GeoJSON (RFC 7946) the corner of the first pixel of level 0 is 0, 0: coordinates are edges of pixels, for
regions and for the outlines of cells. A cell lies in a region if the middle of its outline lies in it or on its edge,
as in QuPath. The centroid of its pixels will not do: it names a pixel by its centre (see `app.pipeline.geometry`), and
is not quite the middle of the outline, which cuts the corners of pixels off.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import shape

from app.batch.plan.plan import Region
from app.batch.read.slide import SlideError
from app.cohort.sources import readable
from app.pipeline.types import BoolArray, Float64Array
from app.pipeline.uploaded_nuclei.qupath import CORE, RESULTS, ROOT, QuPathObject, objects_of

AREAS = ("Polygon", "MultiPolygon")
POINTS, LINES = ("Point", "MultiPoint"), ("LineString", "MultiLineString")
IGNORED = "Ignore*"
"""QuPath's classification of areas that are not to be analysed."""
UNNAMED = "Region"
MAX_BYTES = 256 * 1024**2
"""The largest file of regions, unpacked."""
CUT_OFF = 0.01
"""The largest share of a region beyond the border of the slide that is not reported; people draw a little past it."""
SHOWN_NAMES, MAX_SHOWN = 5, 80
"""The largest number of different names in a sentence, and of characters of each."""
DECIMALS = 2
"""Decimals of a px that regions and outlines of cells keep: those that QuPath writes. Both are compared as they are
written, so that whoever compares the files finds the same."""


@dataclass(frozen=True, slots=True)
class DrawnRegions:
    """The regions of a slide.

    Attributes:
        regions: the regions, cut off at the border of the slide; empty if the whole slide is analysed.
        skipped: what else the file holds and why it is no region, in sentences.
    """

    regions: tuple[Region, ...]
    skipped: tuple[str, ...]


class _NoRegion(Exception):
    """An object is no region; the text is the reason, the end of a sentence."""


@dataclass(frozen=True, slots=True)
class _Area:
    """An area that somebody drew, valid and not empty."""

    name: str
    is_ignored: bool
    area: shapely.Geometry


def read_regions(path: Path, width: int, height: int) -> DrawnRegions:
    """Read the regions of a slide: the areas of annotations and TMA cores, at any depth of QuPath's hierarchy.

    Areas that QuPath classifies as `Ignore*`, or as a class derived from it, are cut out of the regions. Regions of the
    same name get a number. Whatever else the file holds is skipped, and the result says so.

    Args:
        path: GeoJSON of QuPath, gzipped or not: a FeatureCollection, a list of features, or one feature.
        width: the width of the slide, in px of level 0.
        height: the height of the slide, in px of level 0.

    Raises:
        SlideError: the file cannot be read, is not GeoJSON, or has no region within the slide.
    """
    try:
        objects = list(objects_of(_content(path)))
    except TypeError as error:
        raise SlideError(f"{path.name} is not GeoJSON.") from error
    areas, why_not = _areas(objects)
    ignored = shapely.union_all([drawn.area for drawn in areas if drawn.is_ignored])
    slide = shapely.box(0, 0, width, height)
    kept, cut_off = [], []
    for drawn in (drawn for drawn in areas if not drawn.is_ignored):
        within = drawn.area.intersection(slide)
        area = _rounded(_only_areas(within.difference(ignored)))
        if within.area == 0:
            why_not.append((_quoted(drawn.name), f"it lies beyond the slide of {width} x {height} px"))
        elif area.area == 0:
            why_not.append((_quoted(drawn.name), "it lies in areas to ignore"))
        else:
            kept.append((drawn.name, area))
            if (beyond := 1 - within.area / drawn.area.area) > CUT_OFF:
                name = _quoted(drawn.name)
                cut_off.append(f"Cut {name} off at the border of the slide: {beyond:.0%} of it lies beyond.")
    skipped = (*_sentences(why_not), *cut_off)
    if not kept:
        refused = f"{path.name} holds no area within the slide ({width} x {height} px); "
        refused += "export annotations from QuPath as GeoJSON, in pixels."
        raise SlideError(" ".join([refused, *skipped]))
    names = _unique([name for name, _ in kept])
    regions = (Region(name=name, wkt=area.wkt) for name, (_, area) in zip(names, kept, strict=True))
    return DrawnRegions(tuple(regions), skipped)


def union(regions: Sequence[Region]) -> shapely.Geometry:
    """Return the area of all regions together, in px of level 0."""
    return shapely.union_all(shapely.from_wkt([region.wkt for region in regions]))


def middles(outlines: npt.NDArray[np.object_]) -> Float64Array:
    """Return (N, 2) float64 x, y of the middles of N polygons: the centroids of their areas."""
    return np.asarray(shapely.get_coordinates(shapely.centroid(outlines)))


def region_members(places: Float64Array, regions: Sequence[Region]) -> BoolArray:
    """Find the cells that lie in each region, or on its edge.

    Args:
        places: (N, 2) float64 x, y of the middles of the cells' outlines, in px of level 0; see `middles`.
        regions: R regions.

    Returns:
        (R, N) bool, whether a cell lies in a region.
    """
    areas = shapely.from_wkt([region.wkt for region in regions])
    # Outlines of tissue may have fifty thousand corners: a prepared one is eighty times as fast.
    shapely.prepare(areas)
    inside = [shapely.intersects_xy(area, *places.T) for area in areas]
    return np.array(inside, bool).reshape(len(regions), len(places))


def region_names(members: BoolArray, regions: Sequence[Region]) -> list[str | None]:
    """Return the name of the region that each cell is in, several names joined with "; "; None for a cell in none.

    Args:
        members: (R, N) bool, the result of `region_members`.
        regions: R regions.
    """
    return [
        "; ".join(region.name for region, is_inside in zip(regions, inside, strict=True) if is_inside)
        if inside.any()
        else None
        for inside in members.T
    ]


def _content(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            is_gzipped = file.peek(2)[:2] == b"\x1f\x8b"
            raw = (gzip.GzipFile(fileobj=file) if is_gzipped else file).read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise SlideError(f"{path.name} has more than {MAX_BYTES} bytes of GeoJSON; export annotations alone.")
        return json.loads(raw)
    except (gzip.BadGzipFile, ValueError, EOFError, zlib.error, RecursionError) as error:
        raise SlideError(f"{path.name} is not GeoJSON.") from error
    except OSError as error:
        raise SlideError(f"The regions in {path.name} cannot be read: {error.strerror or error}.") from error


def _unique(names: list[str]) -> list[str]:
    """Return the names, with a number after each one that occurs several times."""
    frequency, taken, numbered = Counter(names), set(names), []
    for name in names:
        candidates = (f"{name} {i}" for i in count(1))
        numbered.append(name if frequency[name] == 1 else next(one for one in candidates if one not in taken))
        taken.add(numbered[-1])
    return numbered


def _areas(objects: Sequence[QuPathObject]) -> tuple[list[_Area], list[tuple[str, str]]]:
    """Return the areas among some objects; and of each other object what it is called, and why it is no area."""
    areas, why_not = [], []
    for drawn in objects:
        if drawn.kind == ROOT:  # It stands for the whole slide, and only holds other objects.
            continue
        classes = ": ".join(drawn.classes)
        name = readable(drawn.name or classes or UNNAMED)
        try:
            areas.append(_Area(name, IGNORED in (*drawn.classes, drawn.name), _area(drawn)))
        except _NoRegion as reason:
            why_not.append((drawn.kind if drawn.kind in RESULTS else _quoted(name), str(reason)))
    return areas, why_not


def _area(drawn: QuPathObject) -> shapely.Geometry:
    """Return the valid geometry of an annotation or TMA core.

    Raises:
        _NoRegion: it is of another kind, or makes no area.
    """
    if drawn.kind in RESULTS:
        raise _NoRegion("results of an analysis are no regions")
    if drawn.kind == CORE and drawn.is_missing:
        raise _NoRegion("the TMA core is marked as missing")
    parts = list(_parts(drawn.geometry or {}))
    polygons = [part for part in parts if part.get("type") in AREAS]
    if not polygons:
        raise _NoRegion(_without_area({str(part.get("type")) for part in parts}))
    try:
        with np.errstate(invalid="ignore"):  # NaN is refused right below
            shapes = [shapely.force_2d(shape(polygon)) for polygon in polygons]
    except Exception as error:  # anything may be given as coordinates, and shapely and numpy each have their own errors
        raise _NoRegion("its coordinates make no polygon") from error
    if not all(np.isfinite(shapely.get_coordinates(one)).all() for one in shapes):
        raise _NoRegion("its coordinates are not all finite numbers")
    area = _only_areas(shapely.union_all([shapely.make_valid(one) for one in shapes]))
    if area.area == 0:
        raise _NoRegion("its area is 0")
    return area


def _parts(geometry: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a geometry, or the geometries in a collection of them, of which QuPath counts only the areas."""
    if geometry.get("type") != "GeometryCollection":
        yield geometry
        return
    nested = geometry.get("geometries")
    for one in nested if isinstance(nested, list) else []:
        yield from _parts(one if isinstance(one, dict) else {})


def _without_area(kinds: set[str]) -> str:
    if kinds and kinds <= set(POINTS):
        return "points have no area"
    if kinds and kinds <= {*POINTS, *LINES}:
        return "lines have no area"
    return "it has no outline"


def _sentences(why_not: Sequence[tuple[str, str]]) -> list[str]:
    """Return a sentence for each reason, which names the objects that were skipped for it."""
    reasons: dict[str, list[str]] = {}
    for name, reason in why_not:
        reasons.setdefault(reason, []).append(name)
    return [f"Skipped {_listed(names)}: {reason}." for reason, names in reasons.items()]


def _listed(names: Sequence[str]) -> str:
    counted = Counter(names).most_common()
    shown = [_several(name, number) for name, number in counted[:SHOWN_NAMES]]
    others = sum(number for _, number in counted[SHOWN_NAMES:])
    return ", ".join(shown) + (f" and {others} more" if others else "")


def _quoted(name: str) -> str:
    """Return a name for a message: in one line, and not too long."""
    return f"'{''.join(letter if letter.isprintable() else ' ' for letter in name[:MAX_SHOWN])}'"


def _several(name: str, number: int) -> str:
    if name in RESULTS:
        return f"{number} {name}{'s' if number > 1 else ''}"
    return name if number == 1 else f"{name} ({number} times)"


def _rounded(area: shapely.Geometry) -> shapely.Geometry:
    """Return an area whose coordinates have DECIMALS decimals."""
    on_grid = _only_areas(shapely.set_precision(area, 10.0**-DECIMALS))
    return shapely.transform(on_grid, lambda points: points.round(DECIMALS))


def _only_areas(geometry: shapely.Geometry) -> shapely.Geometry:
    """Return the geometry without the points and lines that cutting may leave."""
    return shapely.union_all([part for part in shapely.get_parts(geometry) if part.geom_type in AREAS])
