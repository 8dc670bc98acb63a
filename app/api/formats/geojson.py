"""Cells → GeoJSON (RFC 7946) that QuPath 0.5 and later imports as detections.

Coordinates are pixels of the upload, with the origin at the corner of the first pixel, as QuPath has it.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

import numpy as np

from app.api import present
from app.api.palette import OUTLIER, cluster_color
from app.api.schemas import NOTICE, CellOut
from app.pipeline.manifest import Manifest
from app.pipeline.rings import Ring, rings
from app.service import Result

DECIMALS = 3


def geojson(result: Result) -> bytes:
    """A FeatureCollection with one feature a cell.

    The classification is the cluster's name or `Cluster k`; that of an outlier is `Outlier`, so that a count by
    classification gives the proportions of the JSON answer. A feature's id is always the same for one tile and bundle.
    Members of the collection beside `features`, which QuPath passes over, say where it comes from.
    """
    answer = present.analysis_out(result, "")
    return json.dumps(
        {
            "type": "FeatureCollection",
            "notice": NOTICE,
            "tile": answer.tile.model_dump(mode="json"),
            "label": answer.label.model_dump(mode="json"),
            "bundle": answer.bundle.model_dump(mode="json"),
            "features": _features(result, answer.cells),
        },
        allow_nan=False,
        separators=(",", ":"),
        ensure_ascii=False,
    ).encode()


def _features(result: Result, cells: list[CellOut]) -> list[dict[str, Any]]:
    analysis, manifest = result.analysis, result.bundle.manifest
    # A nucleus of another scale, bundle or precision is another object.
    source = f"{analysis.tile.sha256}/{result.bundle.sha256}/{analysis.tile.mpp}/{analysis.precision}"
    height, width = analysis.nuclei.labels.shape
    scale = np.array([analysis.tile.width / width, analysis.tile.height / height])
    return [
        {
            "type": "Feature",
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{source}/{cell.id}")),
            "geometry": {"type": "Polygon", "coordinates": [_points(ring * scale) for ring in outline]},
            "properties": {
                "objectType": "detection",
                "name": f"Cell {cell.id}",
                "classification": _classification(cell, manifest),
                "measurements": _measurements(cell, analysis.tile.mpp),
            },
        }
        for cell, outline in zip(cells, rings(analysis.nuclei), strict=True)
    ]


def _points(ring: Ring) -> list[list[float]]:
    points: list[list[float]] = ring.round(DECIMALS).tolist()
    return points


def _classification(cell: CellOut, manifest: Manifest) -> dict[str, Any]:
    if cell.outlier:
        return {"name": "Outlier", "color": list(OUTLIER)}
    name = manifest.cluster_names.of(cell.cluster) if manifest.cluster_names else None
    return {"name": name or f"Cluster {cell.cluster}", "color": list(cluster_color(cell.cluster))}


def _measurements(cell: CellOut, mpp: float | None) -> dict[str, float]:
    """Numbers, which is all that QuPath's measurements can be."""
    area: dict[str, float] = {"Nucleus area px": cell.area_px}
    if mpp is not None:
        area["Nucleus area µm^2"] = round(cell.area_px * mpp**2, 4)
    return {
        "Cell id": cell.id,
        "Cluster": cell.cluster,
        **{f"Probability cluster {k}": probability for k, probability in enumerate(cell.probabilities)},
        **area,
        "Outlier": int(cell.outlier),
        "Touches border": int(cell.touches_border),
    }
