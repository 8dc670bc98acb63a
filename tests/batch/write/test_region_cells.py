"""Whoever compares the regions and cells of our GeoJSON finds the members that our tables have."""

import json
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from tests.batch.one_slide import outlines, prepared, small_tiles
from tests.batch.read.drawn_slides import drawn_pixels, write_striped


def strips(edges, width, height):
    """Regions from edge to edge; together they are the whole slide."""
    return {f"to {x1}": shapely.box(x0, 0, x1, height) for x0, x1 in pairwise([0, *sorted(edges), width])}


def disputed(cells):
    """Places x, as regions have them, from the centroid of a cell's pixels to the middle of its outline."""
    centroids, middles = cells["x"] + 0.5, shapely.get_x(shapely.centroid(outlines(cells)))
    edges = middles.round(2)
    return edges[(centroids - edges) * (middles - edges) <= 0].tolist()


@pytest.mark.parametrize("mpp", [0.25, 0.3])
def test_members_of_regions_are_those_that_the_geojson_shows(tmp_path, bundle, monkeypatch, mpp):
    small_tiles(monkeypatch)
    path = write_striped(tmp_path / "a.tif", np.tile(drawn_pixels(300, 250), (2, 2, 1)), mpp)
    every = prepared(tmp_path / "every", path, bundle).analyse()
    edges = disputed(every.cells())
    assert len(edges) > 2
    drawn = strips({100.0, 200.3, 300.5, 400.8, *edges}, every.plan.width, every.plan.height)
    features = [
        {"type": "Feature", "geometry": shapely.geometry.mapping(area), "properties": {"name": name}}
        for name, area in drawn.items()
    ]
    (tmp_path / "r.json").write_text(json.dumps(features))
    written = prepared(tmp_path / "run", path, bundle, regions=tmp_path / "r.json").analyse().write()

    found = json.loads((written / "cells.geojson").read_bytes())["features"]
    shapes = [shapely.geometry.shape(feature["geometry"]) for feature in found]
    regions, cells = shapes[: len(drawn)], shapes[len(drawn) :]
    middles = shapely.centroid(cells)
    expected = [[name for name, area in zip(drawn, regions, strict=True) if area.covers(middle)] for middle in middles]
    table = pq.read_table(written / "cells.parquet")["regions"].to_pylist()
    assert [(names or "").split("; ") for names in table] == expected
    # No cell is lost where two regions meet.
    assert len(table) == len(every.cells()["x"]) > 100
    summary = json.loads((written / "summary.json").read_bytes())
    counted = {region["name"]: region["cells"] for region in summary["regions"]}
    assert counted == {name: sum(name in names for names in expected) for name in drawn}
