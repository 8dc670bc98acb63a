import gzip
import json
import uuid
from itertools import pairwise

import numpy as np
import pytest
import shapely
from geojson_pydantic import FeatureCollection
from shapely.geometry import shape

from app.answer.geojson import geojson
from app.answer.present import Result
from app.batch.plan.plan import Region
from app.batch.write.cell_table import final_table
from app.batch.write.slide_geojson import About, write_geojson
from app.pipeline.run import analyse

NAMES = (None, "größer", None, None, None)
HOLED = Region(name="with a hole", wkt="POLYGON((0 0, 0 99, 99 99, 99 0, 0 0), (9 9, 9 20.123, 20 20, 9 9))")


def about(**changes) -> About:
    return About(**{"members": {"notice": "µ"}, "source": "a/b", "names": NAMES, "mpp": 0.25, **changes})


def tables(made, mpp=0.25, cuts=(0, 50, 50, None)):
    for first, end in pairwise(cuts):
        rows = slice(first, end)
        part = made.part.slice(first, None if end is None else end - first)
        yield final_table(part, first, made.nearest[rows], made.islands[rows], [None] * len(part), mpp)


def written(made, tmp_path, *, compress=False, regions=(), told=None) -> bytes:
    target = tmp_path / "cells.geojson"
    write_geojson(target, told or about(), regions, tables(made), compress=compress)
    assert list(tmp_path.iterdir()) == [target]
    return target.read_bytes()


def test_features_are_those_of_the_api(made, tmp_path, sample, bundle):
    """But for their ids, and one decimal of the coordinates."""
    result = Result(analyse(sample, bundle, max_pixels=9_000_000, mpp=0.25), bundle, "0" * 32)
    expected = json.loads(geojson(result))["features"]
    found = json.loads(written(made, tmp_path, told=about(names=[None] * 5)))["features"]
    assert [feature["properties"] for feature in found] == [feature["properties"] for feature in expected]
    for one, other in zip(found, expected, strict=True):
        assert shapely.equals_exact(shape(one["geometry"]), shape(other["geometry"]), 0.006)


def test_file_is_a_valid_collection_of_a_line_a_feature(made, tmp_path):
    data = written(made, tmp_path, regions=(HOLED, *made.regions))
    collection = json.loads(data)
    FeatureCollection.model_validate(collection)
    assert collection["notice"] == "µ"
    n = len(made.cells) + 2
    assert len(collection["features"]) == n
    assert [json.loads(line.rstrip(b",")) for line in data.split(b"\n")[1 : n + 1]] == collection["features"]
    ids = {feature["id"] for feature in collection["features"]}
    assert len(ids) == n
    assert {str(uuid.UUID(text)) for text in ids} == ids


def test_regions_come_first_as_annotations(made, tmp_path):
    first, second, third, *_ = json.loads(written(made, tmp_path, regions=(HOLED, *made.regions)))["features"]
    assert first["properties"] == {"objectType": "annotation", "name": "with a hole"}
    area = shape(first["geometry"])
    assert len(area.interiors) == 1
    assert [20.12, 9.0] in np.array(area.interiors[0].coords)[:, ::-1].round(2).tolist()
    assert area.exterior.is_ccw
    assert second["properties"]["name"] == "left <half>"
    assert third["properties"]["objectType"] == "detection"


def test_packed_file_holds_the_same_and_no_time(made, tmp_path):
    packed = written(made, tmp_path, compress=True)
    assert gzip.decompress(packed) == written(made, tmp_path)
    assert packed == written(made, tmp_path, compress=True)
    assert packed[4:8] == bytes(4)


def test_ids_are_of_the_source(made, tmp_path):
    ids = [
        {feature["id"] for feature in json.loads(written(made, tmp_path, told=about(source=source)))["features"]}
        for source in ("a", "b")
    ]
    assert not ids[0] & ids[1]


def test_without_scale_there_is_no_area_in_micrometres(made, tmp_path):
    (feature, *_) = json.loads(written(made, tmp_path, told=about(mpp=None)))["features"]
    assert not any("µm" in name for name in feature["properties"]["measurements"])


def test_slide_without_cells_is_an_empty_collection(tmp_path):
    write_geojson(tmp_path / "a", about(), (), [], compress=False)
    assert json.loads((tmp_path / "a").read_bytes())["features"] == []


def test_file_that_cannot_be_finished_is_not_there(made, tmp_path):
    def broken():
        yield from tables(made)
        raise KeyError

    with pytest.raises(KeyError):
        write_geojson(tmp_path / "a", about(), (), broken(), compress=True)
    assert not list(tmp_path.iterdir())
