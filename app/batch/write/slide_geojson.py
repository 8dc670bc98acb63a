"""Cells of a slide → GeoJSON (RFC 7946) that QuPath imports, as the API's, but written part by part: a line a cell."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from app.answer.geojson import classification, detection, measurements
from app.batch.plan.plan import Region
from app.files import whole_file

DECIMALS = 2
"""Of coordinates, px of level 0."""
PROBABILITY_DECIMALS = 6
GZIP_LEVEL = 6
NO_OUTLINE = '{"type":"Polygon","coordinates":[]}'
"""In whose place a cell's own is put."""


@dataclass(frozen=True, slots=True)
class About:
    """What all features of a slide share.

    Attributes:
        members: of the collection, beside its features; QuPath passes over them.
        source: what the cells were found in, and by what: other sources' features have other ids.
        names: of the K clusters; None for those without one.
        mpp: µm per px of level 0; None: not known.
    """

    members: Mapping[str, object]
    source: str
    names: Sequence[str | None]
    mpp: float | None


def write_geojson(
    target: Path, about: About, regions: Sequence[Region], tables: Iterable[pa.Table], *, compress: bool
) -> None:
    """Write the file, whole or not at all: regions as annotations, then every cell as a detection.

    Args:
        target: its place.
        about: what all features share.
        regions: of the plan.
        tables: the cells, as `final_table` has them, part by part.
        compress: with gzip; the name is not changed.

    Raises:
        OSError: it cannot be written.
    """
    with ExitStack() as stack:
        raw = stack.enter_context(stack.enter_context(whole_file(target)).open("wb"))
        # Neither name nor time: the same cells are the same bytes.
        packed = gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) if compress else raw
        file = stack.enter_context(packed)
        file.write(b'{"type":"FeatureCollection",')
        file.writelines(f"{_json(name)}:{_json(value)},".encode() for name, value in about.members.items())
        file.write(b'"features":[')
        before = b"\n"
        for feature in _features(about, regions, tables):
            file.write(before + feature.encode())
            before = b",\n"
        file.write(b"\n]}\n")


def _json(value: object) -> str:
    # Whatever is not ASCII is escaped, since not every reader takes the file for UTF-8.
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _features(about: About, regions: Sequence[Region], tables: Iterable[pa.Table]) -> Iterator[str]:
    for region in regions:
        yield _json(_annotation(about, region))
    for table in tables:
        yield from _detections(about, table)


def _annotation(about: About, region: Region) -> dict[str, Any]:
    rounded = shapely.transform(shapely.from_wkt(region.wkt), lambda points: points.round(DECIMALS))
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{about.source}/region/{region.name}")),
        "geometry": shapely.geometry.mapping(shapely.orient_polygons(rounded)),
        "properties": {"objectType": "annotation", "name": region.name},
    }


def _detections(about: About, table: pa.Table) -> Iterator[str]:
    columns = [f"p{k}" for k in range(len(about.names))]
    probabilities = np.stack([table[name].to_numpy() for name in columns], axis=1).astype(np.float64)
    # As in the API: float32 may be a trifle beyond 1, and a nucleus has a pixel.
    probabilities = probabilities.round(PROBABILITY_DECIMALS).clip(0, 1)
    areas_px = np.maximum(np.rint(table["area_px"].to_numpy()), 1).astype(int)
    numbers = (table[name].to_pylist() for name in ("id", "cluster", "outlier", "touches_border"))
    rows = zip(*numbers, probabilities.tolist(), areas_px.tolist(), _outlines(table), strict=True)
    for cell, cluster, outlier, touches_border, cell_probabilities, area_px, outline in rows:
        measured = measurements(
            cell,
            cluster,
            cell_probabilities,
            area_px=area_px,
            mpp=about.mpp,
            outlier=outlier,
            touches_border=touches_border,
        )
        feature = detection(about.source, cell, [], classification(cluster, outlier, about.names), measured)
        yield _json(feature).replace(NO_OUTLINE, outline, 1)


def _outlines(table: pa.Table) -> list[str]:
    """The cells' outlines as GeoJSON, by GEOS: Python's own encoder takes as long for them as for all the rest."""
    polygons = shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
    rounded = shapely.transform(polygons, lambda points: points.round(DECIMALS))
    found: list[str] = np.atleast_1d(shapely.to_geojson(rounded)).tolist()
    return found
