"""Regions that were drawn in QuPath, from its GeoJSON (RFC 7946, coordinates in px of level 0)."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import shape

from app.batch.plan.plan import Region
from app.batch.read.slide import SlideError

SUFFIXES = (".geojson", ".json", ".geojson.gz")
AREAS = ("Polygon", "MultiPolygon")
OBJECTS = (None, "annotation", "unknown")
"""`objectType` of what is a region; detections and cells are results."""
MAX_BYTES = 256 * 1024**2


def regions_file(folder: Path, slide: str, file: str) -> Path:
    """The file of a slide in a folder of regions, by the slide's id or its file's name.

    Raises:
        SlideError: there is none.
    """
    names = [f"{stem}{suffix}" for stem in dict.fromkeys((slide, file, Path(file).stem)) for suffix in SUFFIXES]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise SlideError(f"The folder of regions has no {Path(file).stem}.geojson for it.")


def read_regions(path: Path, width: int, height: int) -> tuple[Region, ...]:
    """Read the regions of a slide.

    What QuPath classifies as `Ignore*` is cut out of the others. Regions of the same name get a number.

    Args:
        path: GeoJSON of QuPath, gzipped or not: a FeatureCollection, a list of features, or one.
        width: of the slide, px of level 0.
        height: of the slide, px of level 0.

    Returns:
        At least one, within the slide.

    Raises:
        SlideError: the file cannot be read, is no GeoJSON, or holds no area within the slide.
    """
    drawn = [_area(feature, path) for feature in _features(path) if _is_region(feature)]
    ignored = shapely.union_all([area for name, area in drawn if name == "Ignore*"])
    slide = shapely.box(0, 0, width, height)
    areas = [(name, area.difference(ignored).intersection(slide)) for name, area in drawn if name != "Ignore*"]
    areas = [(name, _only_areas(area)) for name, area in areas if area.area > 0]
    if not areas:
        raise SlideError(
            f"{path.name} holds no area within the slide ({width} x {height} px); "
            "export annotations from QuPath as GeoJSON, in pixels."
        )
    names = _unique([name for name, _ in areas])
    return tuple(Region(name=name, wkt=area.wkt) for name, (_, area) in zip(names, areas, strict=True))


def _unique(names: list[str]) -> list[str]:
    """The names, with a number where several are the same."""
    often, taken, found = Counter(names), set(names), []
    for name in names:
        numbered = (f"{name} {i}" for i in count(1))
        found.append(name if often[name] == 1 else next(one for one in numbered if one not in taken))
        taken.add(found[-1])
    return found


def _features(path: Path) -> list[Mapping[str, Any]]:
    try:
        with path.open("rb") as file:
            is_packed = file.peek(2)[:2] == b"\x1f\x8b"
            raw = (gzip.GzipFile(fileobj=file) if is_packed else file).read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise SlideError(f"{path.name} has more than {MAX_BYTES} bytes of GeoJSON; export annotations alone.")
        content = json.loads(raw)
    except (gzip.BadGzipFile, ValueError, EOFError, zlib.error, RecursionError) as error:
        raise SlideError(f"{path.name} is no GeoJSON.") from error
    except OSError as error:
        raise SlideError(f"The regions in {path.name} cannot be read: {error.strerror or error}.") from error
    found = content.get("features", [content]) if isinstance(content, dict) else content
    if not isinstance(found, list) or not all(isinstance(feature, dict) for feature in found):
        raise SlideError(f"{path.name} is no GeoJSON.")
    return found


def _properties(feature: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = feature.get("properties")
    return properties if isinstance(properties, dict) else {}


def _is_region(feature: Mapping[str, Any]) -> bool:
    geometry = feature.get("geometry")
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    return kind in AREAS and _properties(feature).get("objectType") in OBJECTS


def _area(feature: Mapping[str, Any], path: Path) -> tuple[str, shapely.Geometry]:
    """Name and valid geometry of a region."""
    properties = _properties(feature)
    kind = properties.get("classification")
    kind_name = kind.get("name") if isinstance(kind, dict) else None
    name = "Ignore*" if kind_name == "Ignore*" else properties.get("name") or kind_name or "Region"
    try:
        with np.errstate(invalid="ignore"):  # of NaN, which is refused right below
            area = _only_areas(shapely.make_valid(shape(feature["geometry"])))
        if not np.isfinite(area.bounds).all() and not area.is_empty:
            raise ValueError("not finite")
        return str(name), area
    except Exception as error:  # whatever stands for coordinates: shapely and numpy each have their own
        raise SlideError(f"{path.name} holds a region '{name}' whose coordinates make no area.") from error


def _only_areas(geometry: shapely.Geometry) -> shapely.Geometry:
    """Without the points and lines that cutting may leave."""
    parts = [part for part in shapely.get_parts(geometry) if part.geom_type in AREAS]
    return shapely.union_all(parts)
