"""Cells → GeoJSON (RFC 7946) that QuPath 0.5 and later imports as detections.

Coordinates are pixels of the upload, with the origin at the corner of the first pixel, as QuPath has it.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

import numpy as np

from app.api.palette import OUTLIER, cluster_color
from app.api.schemas import AnalysisOut, CellOut
from app.pipeline.rings import Ring, rings
from app.pipeline.types import Nuclei

DECIMALS = 3


def geojson(answer: AnalysisOut, nuclei: Nuclei) -> bytes:
    """A FeatureCollection with one feature a cell.

    The classification is the cluster's name or `Cluster k`; that of an outlier is `Outlier`, so that a count by
    classification gives the counts of the JSON answer. A feature's id is always the same for one tile and bundle.
    Members of the collection beside `features`, which QuPath passes over, say where it comes from.

    Args:
        answer: the JSON answer.
        nuclei: of its cells, at the analysed scale.
    """
    about = answer.model_dump(mode="json", include={"notice", "tile", "label", "bundle"})
    collection = {"type": "FeatureCollection", **about, "features": _features(answer, nuclei)}
    # Whatever is not ASCII is escaped, since not every reader takes the file for UTF-8.
    return json.dumps(collection, allow_nan=False, separators=(",", ":")).encode()


def _features(answer: AnalysisOut, nuclei: Nuclei) -> list[dict[str, Any]]:
    tile, bundle = answer.tile, answer.bundle
    # A nucleus of another scale, bundle or precision is another object.
    source = f"{tile.sha256}/{bundle.sha256}/{tile.mpp}/{bundle.precision}"
    height, width = nuclei.labels.shape
    scale = np.array([tile.width / width, tile.height / height])
    return [
        {
            "type": "Feature",
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{source}/{cell.id}")),
            "geometry": {"type": "Polygon", "coordinates": [_points(ring * scale) for ring in outline]},
            "properties": {
                "objectType": "detection",
                "name": f"Cell {cell.id}",
                "classification": _classification(cell, answer),
                "measurements": _measurements(cell, tile.mpp),
            },
        }
        for cell, outline in zip(answer.cells, rings(nuclei), strict=True)
    ]


def _points(ring: Ring) -> list[list[float]]:
    points: list[list[float]] = ring.round(DECIMALS).tolist()
    return points


def _classification(cell: CellOut, answer: AnalysisOut) -> dict[str, Any]:
    if cell.outlier:
        return {"name": "Outlier", "color": list(OUTLIER)}
    name = answer.clusters[cell.cluster].name or f"Cluster {cell.cluster}"
    return {"name": name, "color": list(cluster_color(cell.cluster))}


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
