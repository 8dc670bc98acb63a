"""The regions of a slide, drawn in QuPath, and which cells lie in them.

In QuPath's GeoJSON (RFC 7946) the corner of the first pixel of level 0 is 0, 0: coordinates are edges of pixels.
A centroid is a point, which names a pixel by its centre (see `app.pipeline.geometry`). So half a pixel is added to a
centroid before it is compared with a region, and a cell lies in the regions that the middle of its own outline lies in.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import shape

from app.batch.plan.plan import Region
from app.batch.read.slide import SlideError
from app.pipeline.types import BoolArray, Float64Array

SUFFIXES = (".geojson", ".json", ".geojson.gz")
AREAS = ("Polygon", "MultiPolygon")
ANNOTATIONS = (None, "annotation", "unknown")
"""`objectType` of features that are regions; detections and cells are results of an analysis."""
IGNORED = "Ignore*"
"""QuPath's classification of areas that are not to be analysed."""
MAX_BYTES = 256 * 1024**2
CENTRE = 0.5
"""From the corner of a pixel to its centre."""


def regions_file(folder: Path, slide: str, file: str) -> Path:
    """Return the file of a slide in a folder of regions.

    Args:
        folder: the folder.
        slide: the id of the slide, one of the names that its file of regions may have.
        file: the name of the slide's file, which gives two more such names: with and without its ending.

    Raises:
        SlideError: the folder has no file for the slide.
    """
    names = [f"{stem}{suffix}" for stem in dict.fromkeys((slide, file, Path(file).stem)) for suffix in SUFFIXES]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise SlideError(f"The folder of regions has no {Path(file).stem}.geojson for it.")


def read_regions(path: Path, width: int, height: int) -> tuple[Region, ...]:
    """Read the regions of a slide.

    Areas that QuPath classifies as `Ignore*` are cut out of the regions. Regions of the same name get a number.

    Args:
        path: GeoJSON of QuPath, gzipped or not: a FeatureCollection, a list of features, or one feature.
        width: the width of the slide, in px of level 0.
        height: the height of the slide, in px of level 0.

    Returns:
        At least one region, cut off at the border of the slide.

    Raises:
        SlideError: the file cannot be read, is not GeoJSON, or has no area within the slide.
    """
    drawn = [_area(feature, path) for feature in _features(path) if _is_region(feature)]
    ignored = shapely.union_all([area for name, area in drawn if name == IGNORED])
    slide = shapely.box(0, 0, width, height)
    areas = [(name, area.difference(ignored).intersection(slide)) for name, area in drawn if name != IGNORED]
    areas = [(name, _only_areas(area)) for name, area in areas if area.area > 0]
    if not areas:
        raise SlideError(
            f"{path.name} holds no area within the slide ({width} x {height} px); "
            "export annotations from QuPath as GeoJSON, in pixels."
        )
    names = _unique([name for name, _ in areas])
    return tuple(Region(name=name, wkt=area.wkt) for name, (_, area) in zip(names, areas, strict=True))


def union(regions: Sequence[Region]) -> shapely.Geometry:
    """Return the area of all regions together, in px of level 0."""
    return shapely.union_all(shapely.from_wkt([region.wkt for region in regions]))


def region_members(centroids: Float64Array, regions: Sequence[Region]) -> BoolArray:
    """Find the cells that lie in each region.

    Args:
        centroids: (N, 2) float64 x, y of the cells in px of level 0, pixels named by their centres.
        regions: R regions.

    Returns:
        (R, N) bool, whether the centroid of a cell lies in a region.
    """
    areas = shapely.from_wkt([region.wkt for region in regions])
    # Outlines of tissue may have fifty thousand corners: a prepared one is eighty times as fast.
    shapely.prepare(areas)
    x, y = centroids.T + CENTRE
    return np.array([shapely.contains_xy(area, x, y) for area in areas], bool).reshape(len(regions), len(centroids))


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


def _unique(names: list[str]) -> list[str]:
    """Return the names, with a number after each one that occurs several times."""
    frequency, taken, numbered = Counter(names), set(names), []
    for name in names:
        candidates = (f"{name} {i}" for i in count(1))
        numbered.append(name if frequency[name] == 1 else next(one for one in candidates if one not in taken))
        taken.add(numbered[-1])
    return numbered


def _features(path: Path) -> list[Mapping[str, Any]]:
    try:
        with path.open("rb") as file:
            is_gzipped = file.peek(2)[:2] == b"\x1f\x8b"
            raw = (gzip.GzipFile(fileobj=file) if is_gzipped else file).read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise SlideError(f"{path.name} has more than {MAX_BYTES} bytes of GeoJSON; export annotations alone.")
        content = json.loads(raw)
    except (gzip.BadGzipFile, ValueError, EOFError, zlib.error, RecursionError) as error:
        raise SlideError(f"{path.name} is not GeoJSON.") from error
    except OSError as error:
        raise SlideError(f"The regions in {path.name} cannot be read: {error.strerror or error}.") from error
    features = content.get("features", [content]) if isinstance(content, dict) else content
    if not isinstance(features, list) or not all(isinstance(feature, dict) for feature in features):
        raise SlideError(f"{path.name} is not GeoJSON.")
    return features


def _properties(feature: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = feature.get("properties")
    return properties if isinstance(properties, dict) else {}


def _is_region(feature: Mapping[str, Any]) -> bool:
    geometry = feature.get("geometry")
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    return kind in AREAS and _properties(feature).get("objectType") in ANNOTATIONS


def _area(feature: Mapping[str, Any], path: Path) -> tuple[str, shapely.Geometry]:
    """Return the name and the valid geometry of a region."""
    properties = _properties(feature)
    classification = properties.get("classification")
    class_name = classification.get("name") if isinstance(classification, dict) else None
    name = IGNORED if class_name == IGNORED else properties.get("name") or class_name or "Region"
    try:
        with np.errstate(invalid="ignore"):  # NaN is refused right below
            area = _only_areas(shapely.make_valid(shape(feature["geometry"])))
        if not np.isfinite(area.bounds).all() and not area.is_empty:
            raise ValueError("not finite")
        return str(name), area
    except Exception as error:  # anything may be given as coordinates, and shapely and numpy each have their own errors
        raise SlideError(f"{path.name} holds a region '{name}' whose coordinates make no area.") from error


def _only_areas(geometry: shapely.Geometry) -> shapely.Geometry:
    """Return the geometry without the points and lines that cutting may leave."""
    return shapely.union_all([part for part in shapely.get_parts(geometry) if part.geom_type in AREAS])
