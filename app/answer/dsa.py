"""The cells of a tile as an annotation of the Digital Slide Archive, which HistomicsUI shows over the slide.

The form is that of the annotations of large_image: `AnnotationSchema` in its
`girder_annotation/girder_large_image_annotation/models/annotation.py`. Coordinates are px of level 0 of the image, with
the origin at the corner of the first pixel.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from app.answer.geojson import provenance
from app.answer.palette import NO_TYPE, OUTLIER, Color, cluster_color, hex_color, type_colors
from app.answer.present import Result
from app.answer.schemas import NOTICE
from app.pipeline.types import Float64Array

DECIMALS = 3
LINE_WIDTH = 2
"""Of an outline, in px of the screen."""
FILL_ALPHA = 0.25
"""How much of the slide an outline's colour covers, 0–1: chromatin has to stay visible below it."""
NO_TYPE_GROUP = "No type"
"""The group of cells that the cell classifier gave no type."""
OUTLIER_GROUP = "Outlier"
"""The group of cells that no cluster counts."""


def dsa(result: Result) -> bytes:
    """Return the annotation of a tile that is an image of its own in the archive."""
    # Whatever is not ASCII is escaped, as in GeoJSON.
    return json.dumps(annotation(result), allow_nan=False, separators=(",", ":")).encode()


def annotation(result: Result, left: int = 0, top: int = 0) -> dict[str, Any]:
    """Return an annotation with one closed polyline for each cell.

    The group of a cell is its type, if the bundle has a cell classifier, or `No type`; otherwise it is the name of its
    cluster, or `Cluster k`. That of an outlier is `Outlier`. HistomicsUI shows and hides cells by group. `user` of a
    cell holds its numbers, with the names that the CSV table has for them; one that is missing is left out.
    `attributes` say where the annotation comes from. Elements have no id: the archive gives each its own, so that an
    annotation can be added twice.

    Args:
        result: the analysis of the tile.
        left: column of the tile's first pixel in the image, px of level 0.
        top: row of the tile's first pixel in the image, px of level 0.
    """
    bundle, label = result.bundle_used, result.label
    groups = _groups(result)
    return {
        "name": f"Marrowscope, bundle {bundle.name} {bundle.version}",
        "description": f"{NOTICE} {len(groups)} cells, {label.value}. {label.reason}",
        "attributes": provenance(result),
        "elements": [
            _element(i, polygon, *groups[i], left, top) | {"user": _numbers(result, i)}
            for i, polygon in enumerate(result.analysis.cells.polygons)
        ],
    }


def _groups(result: Result) -> list[tuple[str, Color]]:
    """Return the group of each cell, and its colour."""
    cells, of_types = result.cells, type_colors(result.bundle.manifest)

    def group(i: int) -> tuple[str, Color]:
        if cells.outliers[i]:
            return OUTLIER_GROUP, OUTLIER
        if cells.types is None:
            cluster = cells.clusters[i]
            return result.clusters[cluster].name or f"Cluster {cluster}", cluster_color(cluster)
        name = cells.types[i]
        return (NO_TYPE_GROUP, NO_TYPE) if name is None else (name, of_types[name])

    return [group(i) for i in range(len(cells.clusters))]


def _element(cell: int, polygon: list[Float64Array], group: str, color: Color, left: int, top: int) -> dict[str, Any]:
    moved = ((ring + np.array([left, top])).round(DECIMALS).tolist() for ring in polygon)
    outer, *holes = ([[x, y, 0] for x, y in ring[:-1]] for ring in moved)
    return {
        "type": "polyline",
        "closed": True,  # the first point is not repeated
        "points": outer,
        **({"holes": holes} if holes else {}),
        "lineColor": hex_color(color),
        "lineWidth": LINE_WIDTH,
        "fillColor": "rgba({}, {}, {}, {})".format(*color, FILL_ALPHA),
        "group": group,
        "label": {"value": f"Cell {cell}"},
    }


def _numbers(result: Result, i: int) -> dict[str, Any]:
    cells, measured = result.cells, result.measured
    cluster = cells.clusters[i]
    numbers: dict[str, Any] = {
        "cell": i,
        "cluster": cluster,
        "cluster_probability": cells.probabilities[i][cluster],
        "area_px": cells.areas_px[i],
        "outlier": cells.outliers[i],
        "touches_border": cells.touches_border[i],
        "type": cells.types[i] if cells.types else None,
        "type_probability": cells.type_probabilities[i] if cells.type_probabilities else None,
        "type_corrected": cells.corrected[i] if cells.corrected else None,
    }
    if measured is not None:
        # Where the scale is not known, the area in px is measured as well as counted.
        numbers = dict(zip(measured.names, measured.rows[i], strict=True)) | numbers
    return {name: value for name, value in numbers.items() if value is not None}
