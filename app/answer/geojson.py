"""Cells → GeoJSON (RFC 7946) that QuPath 0.5 and later imports as detections.

Coordinates are pixels of the upload, with the origin at the corner of the first pixel, as QuPath has it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

from app.answer.palette import OUTLIER, cluster_color
from app.answer.schemas import AnalysisOut
from app.pipeline.geometry import Cells
from app.pipeline.types import Float64Array

DECIMALS = 3

Outline = list[list[list[float]]]
"""Rings of points x, y."""


def geojson(answer: AnalysisOut, cells: Cells) -> bytes:
    """A FeatureCollection with one feature a cell.

    The classification is the cluster's name or `Cluster k`; that of an outlier is `Outlier`, so that a count by
    classification gives the counts of the JSON answer. A feature's id is always the same for one tile and bundle.
    Members of the collection beside `features`, which QuPath passes over, say where it comes from.

    Args:
        answer: the JSON answer.
        cells: those of the answer.
    """
    about = answer.model_dump(mode="json", include={"notice", "tile", "label", "bundle"})
    collection = {"type": "FeatureCollection", **about, "features": _features(answer, cells)}
    # Whatever is not ASCII is escaped, since not every reader takes the file for UTF-8.
    return json.dumps(collection, allow_nan=False, separators=(",", ":")).encode()


def _features(answer: AnalysisOut, cells: Cells) -> list[dict[str, Any]]:
    tile, bundle = answer.tile, answer.bundle
    # A nucleus of another scale, bundle or precision is another object.
    source = f"{tile.sha256}/{bundle.sha256}/{tile.mpp}/{bundle.precision}"
    names = [cluster.name for cluster in answer.clusters]
    return [
        detection(
            source,
            cell.id,
            [_points(ring) for ring in polygon],
            classification(cell.cluster, cell.outlier, names),
            measurements(
                cell.id,
                cell.cluster,
                cell.probabilities,
                area_px=cell.area_px,
                mpp=tile.mpp,
                outlier=cell.outlier,
                touches_border=cell.touches_border,
            ),
        )
        for cell, polygon in zip(answer.cells, cells.polygons, strict=True)
    ]


def _points(ring: Float64Array) -> list[list[float]]:
    points: list[list[float]] = ring.round(DECIMALS).tolist()
    return points


def detection(
    source: str, cell: int, outline: Outline, classified: dict[str, Any], measured: dict[str, float]
) -> dict[str, Any]:
    """One cell as QuPath has them.

    Args:
        source: what the cell was found in, and by what; another source's cells have other ids.
        cell: its number in there.
        outline: closed rings of x, y: the outer one, then those of holes.
        classified: see `classification`.
        measured: see `measurements`.
    """
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{source}/{cell}")),
        "geometry": {"type": "Polygon", "coordinates": outline},
        "properties": {
            "objectType": "detection",
            "name": f"Cell {cell}",
            "classification": classified,
            "measurements": measured,
        },
    }


def classification(cluster: int, outlier: bool, names: Sequence[str | None]) -> dict[str, Any]:
    """Name and colour.

    Args:
        cluster: the most probable one.
        outlier: whether it is not counted there.
        names: of all clusters; None for those without one.
    """
    if outlier:
        return {"name": "Outlier", "color": list(OUTLIER)}
    return {"name": names[cluster] or f"Cluster {cluster}", "color": list(cluster_color(cluster))}


def measurements(
    cell: int,
    cluster: int,
    probabilities: Sequence[float],
    *,
    area_px: int,
    mpp: float | None,
    outlier: bool,
    touches_border: bool,
) -> dict[str, float]:
    """Numbers, which is all that QuPath's measurements can be.

    Args:
        cell: its number.
        cluster: the most probable one.
        probabilities: of each cluster.
        area_px: of the nucleus, px.
        mpp: µm per px; None: not known, and there is no area in µm².
        outlier: whether it is not counted in its cluster.
        touches_border: whether the border cuts it, or may do so.
    """
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
    }
