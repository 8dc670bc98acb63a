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
from app.batch.analyse.measured import list_column
from app.batch.plan.plan import Region
from app.batch.write.cell_table import final_table
from app.batch.write.geojson import Collection, write_geojson
from app.pipeline.run import analyse

NAMES = (None, "größer", None, None, None)
HOLED = Region(name="with a hole", wkt="POLYGON((0 0, 0 99, 99 99, 99 0, 0 0), (9 9, 9 20.123, 20 20, 9 9))")


def collection(**changes) -> Collection:
    return Collection(**{"members": {"notice": "µ"}, "source": "a/b", "names": NAMES, "mpp": 0.25, **changes})


def tables(example, mpp=0.25, cuts=(0, 50, 50, None)):
    for first, end in pairwise(cuts):
        rows = slice(first, end)
        cells = example.tile_cells.slice(first, None if end is None else end - first)
        of_cells = (example.cells.measurements[rows], example.nearest[rows], example.islands[rows])
        table = final_table(cells, first, *of_cells, [None] * len(cells), mpp)
        yield table.append_column("measurements", list_column(example.cells.measurements[rows]))


def written(example, tmp_path, *, compress=False, regions=(), given=None) -> bytes:
    target = tmp_path / "cells.geojson"
    write_geojson(target, given or collection(), regions, tables(example), compress=compress)
    assert list(tmp_path.iterdir()) == [target]
    return target.read_bytes()


def test_features_are_those_of_the_answer(example, tmp_path, sample, bundle):
    """But for their ids, and one decimal of the coordinates."""
    result = Result(analyse(sample, bundle, max_pixels=9_000_000, mpp=0.25), bundle, "0" * 32)
    expected = json.loads(geojson(result))["features"]
    found = json.loads(written(example, tmp_path, given=collection(names=[None] * 5)))["features"]
    assert [feature["properties"] for feature in found] == [feature["properties"] for feature in expected]
    for one, other in zip(found, expected, strict=True):
        assert shapely.equals_exact(shape(one["geometry"]), shape(other["geometry"]), 0.006)


def test_file_is_a_valid_collection_of_a_line_a_feature(example, tmp_path):
    data = written(example, tmp_path, regions=(HOLED, *example.regions))
    content = json.loads(data)
    FeatureCollection.model_validate(content)
    assert content["notice"] == "µ"
    n = len(example.cells) + 2
    assert len(content["features"]) == n
    assert [json.loads(line.rstrip(b",")) for line in data.split(b"\n")[1 : n + 1]] == content["features"]
    ids = {feature["id"] for feature in content["features"]}
    assert len(ids) == n
    assert {str(uuid.UUID(text)) for text in ids} == ids


def test_regions_come_first_as_annotations(example, tmp_path):
    first, second, third, *_ = json.loads(written(example, tmp_path, regions=(HOLED, *example.regions)))["features"]
    assert first["properties"] == {"objectType": "annotation", "name": "with a hole"}
    area = shape(first["geometry"])
    assert len(area.interiors) == 1
    assert [20.12, 9.0] in np.array(area.interiors[0].coords)[:, ::-1].round(2).tolist()
    assert area.exterior.is_ccw
    assert second["properties"]["name"] == "left <half>"
    assert third["properties"]["objectType"] == "detection"


def test_gzipped_file_holds_the_same_and_no_time(example, tmp_path):
    packed = written(example, tmp_path, compress=True)
    assert gzip.decompress(packed) == written(example, tmp_path)
    assert packed == written(example, tmp_path, compress=True)
    assert packed[4:8] == bytes(4)


def test_ids_are_of_the_source(example, tmp_path):
    ids = [
        {
            feature["id"]
            for feature in json.loads(written(example, tmp_path, given=collection(source=source)))["features"]
        }
        for source in ("a", "b")
    ]
    assert not ids[0] & ids[1]


def test_without_scale_there_is_no_area_in_micrometres(example, tmp_path):
    (feature, *_) = json.loads(written(example, tmp_path, given=collection(mpp=None)))["features"]
    assert not any("µm" in name for name in feature["properties"]["measurements"])


def test_slide_without_cells_is_an_empty_collection(tmp_path):
    write_geojson(tmp_path / "a", collection(), (), [], compress=False)
    assert json.loads((tmp_path / "a").read_bytes())["features"] == []


def test_file_that_cannot_be_finished_is_not_there(example, tmp_path):
    def broken():
        yield from tables(example)
        raise KeyError

    with pytest.raises(KeyError):
        write_geojson(tmp_path / "a", collection(), (), broken(), compress=True)
    assert not list(tmp_path.iterdir())
