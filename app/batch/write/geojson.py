"""The GeoJSON (RFC 7946) of a slide, which QuPath imports: regions as annotations and cells as detections.

Its features are those of the answer's GeoJSON, but they are written tile by tile, one line per feature. Coordinates are
px of level 0 with the origin at the top left corner of the first pixel of the frame (`app.batch.summary.Frame`).
"""

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

from app.answer import present
from app.answer.cell_types import type_table
from app.answer.geojson import classification, detection, measurements, type_classification
from app.answer.measured import rows_of
from app.answer.palette import Color, type_colors
from app.answer.schemas import NOTICE
from app.batch.analyse.cells import SlideCells, kept_cells, kept_rows, label_cells, slide_cells
from app.batch.analyse.composition import slide_tissue
from app.batch.analyse.measured import from_list_column, list_column
from app.batch.folder import BatchFolder, BatchManifest
from app.batch.plan.plan import Region, read_plan
from app.files import whole_file
from app.pipeline.bundle.load import Bundle
from app.pipeline.manifest import Manifest
from app.pipeline.measure.cells import shown

FROM_PLAN = {"slide", "file", "fingerprint", "width", "height", "frame", "mpp", "mpp_source"}
"""Fields of the plan that become members of the collection."""
PROBABILITY_DECIMALS = 6
GZIP_LEVEL = 6
NO_OUTLINE = '{"type":"Polygon","coordinates":[]}'
"""The geometry of a feature before its outline is put in place of it."""


@dataclass(frozen=True, slots=True)
class Collection:
    """What the features of a slide have in common.

    Attributes:
        members: members of the collection beside its features; QuPath ignores them.
        source: what the cells were found in and with; features of another source get other ids.
        names: the name of each of K clusters; None for a cluster without one.
        mpp: µm per px of level 0; None if it is not known.
        type_colors: the colour of each type; None where the bundle has no cell classifier.
    """

    members: Mapping[str, object]
    source: str
    names: Sequence[str | None]
    mpp: float | None
    type_colors: Mapping[str, Color] | None = None


def write_slide_geojson(slide: str, folder: BatchFolder, bundle: Bundle, batch: BatchManifest) -> None:
    """Write the GeoJSON of a slide from the tables of its tiles, all of which must exist.

    Args:
        slide: the id of the slide.
        folder: the folder of the batch.
        bundle: the bundle that analysed the slide.
        batch: what the batch is to do.

    Raises:
        SlideChanged: a tile was made from other inputs than the plan.
        OSError: a file cannot be read or written.
    """
    plan, manifest = read_plan(folder.plan(slide)), bundle.manifest
    kept = kept_rows(folder, plan)
    cells = slide_cells(folder, plan, kept, manifest)
    every, scale_known = np.ones(len(cells), bool), plan.mpp is not None
    proportions, label = label_cells(cells, every, plan.quality, manifest, scale_known=scale_known)
    found = slide_tissue(folder, plan)
    tissue = present.tissue_out(found.whole, manifest, scale_known=scale_known) if found else None
    used = present.bundle_used(bundle, batch.precision)
    members = {
        **plan.model_dump(mode="json", include=FROM_PLAN),
        "inputs_sha256": plan.inputs.sha256,
        "notice": NOTICE,
        "tissue": tissue.model_dump(mode="json") if tissue else None,
        "label": present.label_out(label, proportions, manifest).model_dump(mode="json"),
        "segmentation": present.segmentation_out(plan.upload or manifest.own_segmentation).model_dump(mode="json"),
        "bundle": used.model_dump(mode="json"),
    }
    source = f"{plan.fingerprint}/{used.sha256}/{plan.mpp}/{used.precision}/{plan.frame.name}"
    if plan.inputs.nuclei_sha256 is not None:
        source += f"/{plan.inputs.nuclei_sha256}"
    named = manifest.cluster_names
    names = [named.of(k) if named else None for k in range(manifest.n_clusters)]
    collection = Collection(members, source, names, plan.mpp, type_colors(manifest) or None)
    tables = _completed(kept_cells(folder, plan, kept), cells, manifest)
    write_geojson(folder.geojson(slide, batch), collection, plan.regions, tables, compress=batch.gzip)


def write_geojson(
    target: Path, collection: Collection, regions: Sequence[Region], tables: Iterable[pa.Table], *, compress: bool
) -> None:
    """Write a collection, whole or not at all: first the regions, then every cell.

    Args:
        target: the path of the file.
        collection: what all features have in common.
        regions: the regions of the plan.
        tables: the cells in tables of any length, with the columns of `analyse_tile` and also `id` and `cluster`; the
            measurements are those of `SlideCells`.
        compress: whether to compress the file with gzip; that does not change its name.

    Raises:
        OSError: the file cannot be written.
    """
    with ExitStack() as stack:
        raw = stack.enter_context(stack.enter_context(whole_file(target)).open("wb"))
        # Without a name and a time in the gzip header, the same cells give the same bytes.
        packed = gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) if compress else raw
        file = stack.enter_context(packed)
        file.write(b'{"type":"FeatureCollection",')
        file.writelines(f"{_json(name)}:{_json(value)},".encode() for name, value in collection.members.items())
        file.write(b'"features":[')
        separator = b"\n"
        for feature in _features(collection, regions, tables):
            file.write(separator + feature.encode())
            separator = b",\n"
        file.write(b"\n]}\n")


def _completed(tables: Iterable[pa.Table], cells: SlideCells, manifest: Manifest) -> Iterator[pa.Table]:
    """Yield the tables of the tiles with `id`, `cluster` and the types of cells, and the measurements of the slide."""
    types = type_table(cells.types, manifest)
    first = 0
    for table in tables:
        rows = slice(first, first + len(table))
        added = {
            "id": pa.array(range(first, rows.stop)),
            "cluster": pa.array(cells.clusters[rows]),
            "measurements": list_column(cells.measurements[rows]),
            **{name: pa.array(column[rows]) for name, column in types.items()},
        }
        kept = {name: table[name] for name in table.column_names if name not in added}
        yield pa.table({**kept, **added})
        first = rows.stop


def _json(value: object) -> str:
    # Not every reader takes the file for UTF-8, so everything that is not ASCII is escaped.
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _features(collection: Collection, regions: Sequence[Region], tables: Iterable[pa.Table]) -> Iterator[str]:
    for region in regions:
        yield _json(_annotation(collection, region))
    for table in tables:
        yield from _detections(collection, table)


def _annotation(collection: Collection, region: Region) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{collection.source}/region/{region.name}")),
        "geometry": shapely.geometry.mapping(shapely.orient_polygons(shapely.from_wkt(region.wkt))),
        "properties": {"objectType": "annotation", "name": region.name},
    }


def _detections(collection: Collection, table: pa.Table) -> Iterator[str]:
    columns = [f"p{k}" for k in range(len(collection.names))]
    probabilities = np.stack([table[name].to_numpy() for name in columns], axis=1).astype(np.float64)
    # As in the answer: float32 may slightly exceed 1, and a nucleus has at least one pixel.
    probabilities = probabilities.round(PROBABILITY_DECIMALS).clip(0, 1)
    areas_px = np.maximum(np.rint(table["area_px"].to_numpy()), 1).astype(int)
    facts = (table[name].to_pylist() for name in ("id", "cluster", "outlier", "touches_border"))
    types = _types(table)
    measured = rows_of(shown(from_list_column(table["measurements"]).astype(np.float64)))
    rows = zip(*facts, types, probabilities.tolist(), areas_px.tolist(), measured, _outlines(table), strict=True)
    for cell, cluster, outlier, touches_border, (
        name,
        sureness,
    ), cell_probabilities, area_px, cell_measured, outline in rows:
        classified: dict[str, Any] | None
        if collection.type_colors is None:
            classified = classification(cluster, outlier, collection.names)
        else:
            classified = type_classification(name, outlier, collection.type_colors)
        by_name = measurements(
            cell,
            cluster,
            cell_probabilities,
            area_px=area_px,
            mpp=collection.mpp,
            outlier=outlier,
            touches_border=touches_border,
            type_probability=sureness,
            measured=cell_measured,
        )
        feature = detection(collection.source, cell, [], classified, by_name)
        yield _json(feature).replace(NO_OUTLINE, outline, 1)


def _types(table: pa.Table) -> list[tuple[str | None, float | None]]:
    """Return the type of each cell and its probability; None for both where the bundle has no cell classifier."""
    if "type" not in table.column_names:
        return [(None, None)] * len(table)
    return list(zip(table["type"].to_pylist(), table["type_probability"].to_pylist(), strict=True))


def _outlines(table: pa.Table) -> list[str]:
    """Return the outlines of the cells as GeoJSON; GEOS writes it, because Python's encoder would double the time."""
    polygons = shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
    outlines: list[str] = np.atleast_1d(shapely.to_geojson(polygons)).tolist()
    return outlines
