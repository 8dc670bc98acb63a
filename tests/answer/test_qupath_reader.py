"""What QuPath requires of GeoJSON holds for every GeoJSON that is answered."""

import json

import pytest

from tests.answer.qupath_reader import read_document
from tests.answer.rendering import analysed, as_geojson, as_json, named
from tests.drawing import draw_tile, encoded

HOLED = [
    [[20, 20], [60, 20], [60, 60], [20, 60], [20, 20]],
    [[35, 35], [35, 45], [45, 45], [45, 35], [35, 35]],
]


def test_qupath_reads_every_cell_as_a_detection(result, sample_result):
    for one in (result, sample_result):
        objects, cells = read_document(as_geojson(one)), as_json(one)["cells"]
        assert len(objects) == len(cells) > 0
        assert {found["type"] for found in objects} == {"detection"}
        assert all(found["class"] for found in objects)
        assert len({found["id"] for found in objects}) == len(objects)


def test_qupath_reads_the_types_of_cells(typed_result):
    names = [found["class"] and found["class"][0] for found in read_document(as_geojson(typed_result))]
    cells = as_json(typed_result)["cells"]
    assert names == ["Outlier" if cell["outlier"] else cell["type"] for cell in cells]
    assert None in names


def test_qupath_reads_names_of_every_alphabet(result):
    classes = {found["class"][0] for found in read_document(as_geojson(named(result, {0: "größer, „rund“", 1: "小"})))}
    assert classes >= {"größer, „rund“", "小"}


def test_qupath_reads_a_nucleus_with_a_hole(bundle):
    nucleus = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": HOLED}, "properties": {}}
    own = json.dumps(nucleus).encode()
    (found,) = read_document(as_geojson(analysed(encoded(draw_tile([])), bundle, nuclei=own)))
    assert len(found["rings"]) == 2


def test_qupath_reads_a_tile_without_cells(empty_result):
    assert read_document(as_geojson(empty_result)) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda feature: feature.update(type="feature"),
        lambda feature: feature.update(id=3),
        lambda feature: feature.update(id="PathDetectionObject"),
        lambda feature: feature.update(geometry=None),
        lambda feature: feature["geometry"]["coordinates"][0].pop(),
        lambda feature: feature["properties"].update(objectType="nucleus"),
        lambda feature: feature["properties"].update(classification={"name": "Cluster 0"}),
        lambda feature: feature["properties"].update(classification={"name": "Cluster 0", "color": "#ffffff"}),
        lambda feature: feature["properties"]["measurements"].update(Outlier=True),
        lambda feature: feature["properties"]["measurements"].update(Missing=None),
    ],
)
def test_the_rules_refuse_what_qupath_would_not_read(result, spoil):
    document = as_geojson(result)
    spoil(document["features"][0])
    with pytest.raises((AssertionError, ValueError, TypeError, AttributeError, KeyError)):
        read_document(document)
