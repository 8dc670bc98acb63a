import csv
import io
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from jsonschema import ValidationError
from shapely import Polygon
from shapely.geometry import shape

from app.answer.dsa import annotation
from tests.answer.annotation_schema import check_annotation
from tests.answer.rendering import analysed, as_geojson, as_json, named, render
from tests.api.answers import strict_json
from tests.drawing import draw_tile, encoded


def as_annotation(result):
    return strict_json(render(result, "dsa"))


def polygon_of(element):
    return Polygon([point[:2] for point in element["points"]], [[p[:2] for p in h] for h in element.get("holes", [])])


def test_the_archive_takes_every_annotation(result, typed_result, empty_result, sample_result):
    for one in (result, typed_result, empty_result, sample_result, named(result, {0: "größer, „rund“"})):
        check_annotation(as_annotation(one))
    assert as_annotation(empty_result)["elements"] == []


def test_the_schema_refuses_what_the_archive_refuses(result):
    for spoil in (
        lambda element: element.update(color="#ffffff"),
        lambda element: element.update(fillColor="red"),
        lambda element: element["points"].append([1, 2]),
        lambda element: element.update(label="Cell 0"),
    ):
        content = as_annotation(result)
        spoil(content["elements"][0])
        with pytest.raises(ValidationError):
            check_annotation(content)


def test_outlines_are_those_of_the_geojson(result):
    elements, features = as_annotation(result)["elements"], as_geojson(result)["features"]
    for element, feature in zip(elements, features, strict=True):
        assert element["closed"] is True
        assert element["points"][0] != element["points"][-1]
        assert polygon_of(element).equals(shape(feature["geometry"]))
        assert {z for _, _, z in element["points"]} == {0}


def test_a_hole_is_no_part_of_the_cell(bundle):
    """A ring that is handed in keeps its hole."""
    ring = {"type": "Polygon", "coordinates": [square(20, 60), square(35, 45)[::-1]]}
    result = analysed(encoded(draw_tile([])), bundle, nuclei=feature_of(ring))
    (element,) = as_annotation(result)["elements"]
    check_annotation(as_annotation(result))
    assert len(element["holes"]) == 1
    assert polygon_of(element).area == pytest.approx(40**2 - 10**2, rel=0.01)


def square(low, high):
    return [[low, low], [high, low], [high, high], [low, high], [low, low]]


def feature_of(geometry):
    return json.dumps({"type": "Feature", "geometry": geometry, "properties": {}}).encode()


def test_groups_and_colours_are_the_classes_of_the_geojson(result, typed_result):
    for one in (result, typed_result):
        for element, feature in zip(as_annotation(one)["elements"], as_geojson(one)["features"], strict=True):
            classified = feature["properties"].get("classification", {"name": "No type", "color": [255, 255, 255]})
            assert element["group"] == classified["name"]
            assert element["lineColor"] == "#{:02x}{:02x}{:02x}".format(*classified["color"])
            assert element["fillColor"] == "rgba({}, {}, {}, 0.25)".format(*classified["color"])


def test_counts_by_group_are_those_of_the_json_answer(result):
    answer = as_json(result)
    counted = Counter(element["group"] for element in as_annotation(result)["elements"])
    assert counted.pop("Outlier") == answer["outliers"]["count"]
    assert counted == {f"Cluster {k['cluster']}": k["count"] for k in answer["clusters"] if k["count"]}


@pytest.mark.parametrize("options", [{}, {"mpp": 0.25}])
def test_numbers_of_a_cell_are_those_of_the_table(sample, bundle, options):
    result = analysed(sample, bundle, **options)
    rows = csv.DictReader(io.StringIO(render(result, "csv").decode()))
    for element, row in zip(as_annotation(result)["elements"], rows, strict=True):
        numbers = element["user"]
        assert numbers.pop("cell") == int(row["id"])
        probability = numbers.pop("cluster_probability")
        assert probability == float(row[f"probability_{numbers['cluster']}"])
        for name in ("outlier", "touches_border"):
            assert numbers.pop(name) is (row[name] == "true")
        assert numbers == {name: float(row[name]) for name in numbers}
        measured = [name for name in row if name.endswith(("_um", "_um2", "_od_mean", "solidity")) and row[name]]
        assert set(measured) <= set(numbers)


def test_measurements_can_be_left_out(result):
    (numbers,) = {
        tuple(element["user"]) for element in as_annotation(replace(result, with_measurements=False))["elements"]
    }
    assert numbers == ("cell", "cluster", "cluster_probability", "area_px", "outlier", "touches_border")


def test_types_and_their_probabilities_are_shown(typed_result):
    cells = as_json(typed_result)["cells"]
    for element, cell in zip(as_annotation(typed_result)["elements"], cells, strict=True):
        assert element["user"].get("type") == cell["type"]
        assert element["user"].get("type_probability") == cell["type_probability"]


def test_annotation_says_where_it_comes_from(result):
    content, answer = as_annotation(result), as_json(result)
    for name in ("notice", "tile", "label", "tissue", "segmentation", "bundle"):
        assert content["attributes"][name] == answer[name]
    assert content["description"].startswith(answer["notice"])
    assert answer["label"]["reason"] in content["description"]
    assert content["name"] == f"Marrowscope, bundle {answer['bundle']['name']} {answer['bundle']['version']}"


def test_a_part_of_a_slide_lies_where_it_was_cut(result):
    for element, moved in zip(annotation(result)["elements"], annotation(result, 1000, 70)["elements"], strict=True):
        np.testing.assert_allclose(
            np.subtract(moved["points"], element["points"]), [[1000, 70, 0]] * len(moved["points"])
        )


def test_histomicstk_reads_the_outlines(result):
    """By what HistomicsTK makes its tables and masks of, from the annotations of a server."""
    reading = pytest.importorskip("histomicstk.annotations_and_masks.annotation_and_mask_utils")
    content = as_annotation(result)
    for i, element in enumerate(content["elements"]):
        element["id"] = f"{i:024x}"  # which the server gives
    check_annotation(content)
    _, elements = reading.parse_slide_annotations_into_tables([{"_id": "0" * 24, "annotation": content}])
    features = as_geojson(result)["features"]
    assert list(elements["group"]) == [element["group"] for element in content["elements"]]
    assert set(elements["type"]) == {"polyline"}
    for found, feature in zip(elements.itertuples(), features, strict=True):
        bounds = shape(feature["geometry"]).bounds
        # It cuts coordinates to whole pixels.
        np.testing.assert_allclose([found.xmin, found.ymin, found.xmax, found.ymax], bounds, atol=1)
