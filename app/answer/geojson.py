"""The cells of a tile as GeoJSON (RFC 7946), which QuPath 0.5 and later imports as detections.

Coordinates are pixels of the upload, with the origin at the corner of the first pixel, as QuPath has it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from app.answer.palette import OUTLIER, Color, cluster_color, type_colors
from app.answer.present import Result
from app.answer.schemas import NOTICE
from app.pipeline.measure.table import MEASUREMENTS
from app.pipeline.types import Float64Array

DECIMALS = 3
QUPATH_NAMES = {known: [one.qupath_name(known) for one in MEASUREMENTS] for known in (True, False)}
"""The names of the measurements in QuPath, by whether the scale is known."""

Outline = list[list[list[float]]]
"""Closed rings of points x, y."""


def geojson(result: Result) -> bytes:
    """Return a FeatureCollection with one feature for each cell.

    A cell's classification is the name of its type, if the bundle has a cell classifier, and a cell without a type has
    no classification. Otherwise it is the name of its cluster, or `Cluster k`. That of an outlier is `Outlier`, so that
    a count by classification gives the counts of the JSON answer. A cell has the same id each time the same bundle
    analyses the same tile. The collection also says where it comes from, in members that QuPath ignores. Where types
    were corrected, each cell has the measurement `Type corrected`, 1 or 0.
    """
    collection = {"type": "FeatureCollection", **provenance(result), "features": _features(result)}
    # Whatever is not ASCII is escaped, because some readers do not take the file for UTF-8.
    return json.dumps(collection, allow_nan=False, separators=(",", ":")).encode()


def provenance(result: Result) -> dict[str, Any]:
    """Return where an answer comes from, for files whose cells hold no room for it: members of the JSON answer."""
    about: dict[str, Any] = {
        "notice": NOTICE,
        "tile": result.tile.model_dump(mode="json"),
        "tissue": result.tissue.model_dump(mode="json"),
        "label": result.label.model_dump(mode="json"),
        "segmentation": result.segmentation.model_dump(mode="json"),
        "bundle": result.bundle_used.model_dump(mode="json"),
    }
    if result.cells_sha256 is not None:
        about["cells_sha256"] = result.cells_sha256
    if result.corrections is not None:
        about["corrections"] = result.corrections.model_dump(mode="json")
    return about


def _features(result: Result) -> list[dict[str, Any]]:
    tile, cells, names = result.tile, result.cells, [cluster.name for cluster in result.clusters]
    measured = result.measured
    # At another scale, with another bundle or precision, or among other nuclei, a nucleus is another object.
    uploaded = result.parameters.nuclei_sha256
    used = f"{result.bundle_used.sha256}/{tile.mpp}/{result.bundle_used.precision}"
    source = f"{tile.sha256}/{used}" + (f"/{uploaded}" if uploaded else "")
    colors = type_colors(result.bundle.manifest)

    def classified(i: int) -> dict[str, Any] | None:
        if cells.types is None:
            return classification(cells.clusters[i], cells.outliers[i], names)
        return type_classification(cells.types[i], cells.outliers[i], colors)

    return [
        detection(
            source,
            i,
            [_points(ring) for ring in polygon],
            classified(i),
            measurements(
                i,
                cells.clusters[i],
                cells.probabilities[i],
                area_px=cells.areas_px[i],
                mpp=tile.mpp,
                outlier=cells.outliers[i],
                touches_border=cells.touches_border[i],
                type_probability=cells.type_probabilities[i] if cells.type_probabilities else None,
                type_corrected=cells.corrected[i] if cells.corrected else None,
                measured=None if measured is None else measured.rows[i],
            ),
        )
        for i, polygon in enumerate(result.analysis.cells.polygons)
    ]


def _points(ring: Float64Array) -> list[list[float]]:
    points: list[list[float]] = ring.round(DECIMALS).tolist()
    return points


def detection(
    source: str, cell: int, outline: Outline, classified: dict[str, Any] | None, measured: dict[str, float]
) -> dict[str, Any]:
    """Return one cell as a detection of QuPath's.

    Args:
        source: what the cell was found in, and by what: cells of different sources have different ids.
        cell: number of the cell in its source.
        outline: closed rings of x, y in px: the outer one, then those of holes.
        classified: see `classification` and `type_classification`; None leaves it out.
        measured: see `measurements`.
    """
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{source}/{cell}")),
        "geometry": {"type": "Polygon", "coordinates": outline},
        "properties": {
            "objectType": "detection",
            "name": f"Cell {cell}",
            **({"classification": classified} if classified else {}),
            "measurements": measured,
        },
    }


def classification(cluster: int, outlier: bool, names: Sequence[str | None]) -> dict[str, Any]:
    """Return the classification of a cell: a name and an RGB colour, 0–255.

    Args:
        cluster: the cell's most probable cluster.
        outlier: whether no cluster counts the cell.
        names: the names of all clusters; None for a cluster without a name.
    """
    if outlier:
        return {"name": "Outlier", "color": list(OUTLIER)}
    return {"name": names[cluster] or f"Cluster {cluster}", "color": list(cluster_color(cluster))}


def type_classification(name: str | None, outlier: bool, colors: Mapping[str, Color]) -> dict[str, Any] | None:
    """Return the classification of a cell by its type; None if it has none, which QuPath shows as unclassified.

    Args:
        name: the cell's type; None if it has none.
        outlier: whether the cell is not counted.
        colors: the colour of each type; see `type_colors`.
    """
    if outlier:
        return {"name": "Outlier", "color": list(OUTLIER)}
    return None if name is None else {"name": name, "color": list(colors[name])}


def measurements(
    cell: int,
    cluster: int,
    probabilities: Sequence[float],
    *,
    area_px: int,
    mpp: float | None,
    outlier: bool,
    touches_border: bool,
    type_probability: float | None = None,
    type_corrected: bool | None = None,
    measured: Sequence[float | None] | None = None,
) -> dict[str, float]:
    """Return the measurements of a cell, by name; QuPath takes numbers only.

    Args:
        cell: number of the cell.
        cluster: its most probable cluster.
        probabilities: the probability of each cluster, 0–1.
        area_px: area of the nucleus, px.
        mpp: µm per px; None where it is not known, and then there is no area in µm².
        outlier: whether no cluster counts the cell.
        touches_border: whether the border cuts the nucleus, or may do so.
        type_probability: the probability of the cell's type, 0–1; None if it has none.
        type_corrected: whether a person gave the cell its type; None where no type of the tile was corrected.
        measured: what was measured on it, as it is shown and in the order of MEASUREMENTS; what is missing is left out.
            None where it is not wanted.
    """
    names = QUPATH_NAMES[mpp is not None]
    area: dict[str, float] = {"Nucleus area px": area_px}
    if mpp is not None:
        area["Nucleus area µm^2"] = round(area_px * mpp**2, 4)
    return {
        "Cell id": cell,
        "Cluster": cluster,
        **{f"Probability cluster {k}": probability for k, probability in enumerate(probabilities)},
        **area,
        "Outlier": int(outlier),
        "Touches border": int(touches_border),
        **({} if type_probability is None else {"Type probability": type_probability}),
        **({} if type_corrected is None else {"Type corrected": int(type_corrected)}),
        **_without_missing(dict(zip(names, measured, strict=True)) if measured else {}),
    }


def _without_missing(values: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}
