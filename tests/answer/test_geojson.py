import uuid
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from geojson_pydantic import FeatureCollection
from shapely import STRtree
from shapely.geometry import box, shape

from app.pipeline.measure.table import MEASUREMENTS
from tests.answer.rendering import analysed, as_geojson, as_json, named, render
from tests.drawing import draw_tile, encoded, grid_of_centres

ROUNDED = 1e-3


def polygons_of(collection):
    return [shape(feature["geometry"]) for feature in collection["features"]]


def ids_of(result):
    return [feature["id"] for feature in as_geojson(result)["features"]]


def classes_of(result):
    return [feature["properties"]["classification"] for feature in as_geojson(result)["features"]]


def check_features(result):
    """A valid collection of valid polygons within the tile, one for each cell of the JSON answer."""
    collection, answer = as_geojson(result), as_json(result)
    FeatureCollection.model_validate(collection)
    polygons = polygons_of(collection)
    tile = box(0, 0, answer["tile"]["width"], answer["tile"]["height"])
    assert len(polygons) == len(answer["cells"])
    assert all(polygon.is_valid and tile.covers(polygon) for polygon in polygons)
    assert all(polygon.exterior.is_ccw for polygon in polygons)
    for polygon, cell in zip(polygons, answer["cells"], strict=True):
        assert box(*cell["bbox"]).buffer(ROUNDED).covers(polygon)
    for a, b in STRtree(polygons).query(np.array(polygons, object), predicate="overlaps").T:
        assert polygons[a].intersection(polygons[b]).area < ROUNDED * polygons[a].length
    return polygons, answer


def test_every_cell_is_a_polygon_of_its_area(result):
    polygons, answer = check_features(result)
    np.testing.assert_allclose(
        [polygon.area for polygon in polygons], [cell["area_px"] - 0.5 for cell in answer["cells"]]
    )


def test_real_tile_is_valid(real_upload, bundle):
    polygons, _ = check_features(analysed(real_upload, bundle))
    assert len(polygons) > 100


@pytest.mark.parametrize("mpp", [0.05, 0.15, 0.25, 0.5, 4.0])
def test_coordinates_are_those_of_the_upload_whatever_its_scale(bundle, mpp):
    """Nuclei as large as they are at this scale, so that they are found at all of them."""
    factor = bundle.manifest.mpp / mpp
    shape = (round(200 * factor), round(280 * factor))
    centres = grid_of_centres() * factor
    tile = draw_tile(centres, shape=shape, radius=11 * factor)
    polygons, answer = check_features(analysed(encoded(tile), bundle, mpp=mpp))
    assert len(polygons) > len(centres) / 2
    found = np.array([cell["area_px"] for cell in answer["cells"]])
    np.testing.assert_allclose([polygon.area for polygon in polygons], found, rtol=0.1, atol=0.6)
    # A pixel's centre is half a pixel from its corner.
    centroids = np.array([cell["centroid"] for cell in answer["cells"]]) + 0.5
    at = np.array([polygon.centroid.coords[0] for polygon in polygons])
    np.testing.assert_allclose(at, centroids, atol=max(0.02, 0.2 * factor))


def test_features_are_what_qupath_reads_as_detections(result):
    answer = as_json(result)
    for feature, cell in zip(as_geojson(result)["features"], answer["cells"], strict=True):
        properties = feature["properties"]
        assert properties["objectType"] == "detection"
        assert properties["name"] == f"Cell {cell['id']}"
        assert set(properties["classification"]) == {"name", "color"}
        color = properties["classification"]["color"]
        assert len(color) == 3
        assert all(type(part) is int and 0 <= part <= 255 for part in color)
        assert all(type(value) in (int, float) for value in properties["measurements"].values())


def test_measurements_are_those_of_the_json_answer(result):
    for feature, cell in zip(as_geojson(result)["features"], as_json(result)["cells"], strict=True):
        measured = feature["properties"]["measurements"]
        assert [measured.pop(f"Probability cluster {k}") for k in range(5)] == cell["probabilities"]
        named = {one.qupath_name(scale_known=False): one.column(scale_known=False) for one in MEASUREMENTS}
        found = {named[name]: measured.pop(name) for name in list(measured) if name in named}
        assert found == {name: value for name, value in cell["measurements"].items() if value is not None}
        assert measured == {
            "Cell id": cell["id"],
            "Cluster": cell["cluster"],
            "Nucleus area px": cell["area_px"],
            "Outlier": cell["outlier"],
            "Touches border": cell["touches_border"],
        }


def test_area_in_micrometres_is_given_where_the_scale_is_known(sample, bundle):
    result = analysed(sample, bundle, mpp=0.25)
    for feature, cell in zip(as_geojson(result)["features"], as_json(result)["cells"], strict=True):
        assert feature["properties"]["measurements"]["Nucleus area µm^2"] == pytest.approx(cell["area_px"] / 16)


def test_ids_are_uuids_and_unique(result):
    ids = ids_of(result)
    assert [str(uuid.UUID(text)) for text in ids] == ids
    assert len(set(ids)) == len(ids) > 0


def test_ids_are_the_same_for_the_same_tile_and_bundle_only(sample, bundle, sample_result):
    assert ids_of(analysed(sample, bundle)) == ids_of(sample_result)
    others = [
        analysed(sample, bundle, mpp=0.25),
        analysed(sample, bundle, precision="full"),
        replace(sample_result, bundle=replace(bundle, sha256="0" * 64)),
        replace(
            sample_result,
            analysis=replace(sample_result.analysis, tile=replace(sample_result.analysis.tile, sha256="0" * 64)),
        ),
    ]
    every = [set(ids_of(result)) for result in (sample_result, *others)]
    assert len(set.union(*every)) == sum(map(len, every))


def test_counts_by_classification_are_those_of_the_json_answer(result):
    answer = as_json(result)
    counted = Counter(classification["name"] for classification in classes_of(result))
    assert counted.pop("Outlier") == answer["outliers"]["count"]
    assert counted == {f"Cluster {k['cluster']}": k["count"] for k in answer["clusters"] if k["count"]}


def test_colours_are_those_of_the_json_answer(result):
    answer = as_json(result)
    expected = {f"Cluster {cluster['cluster']}": cluster["color"] for cluster in answer["clusters"]}
    colors = {c["name"]: "#{:02x}{:02x}{:02x}".format(*c["color"]) for c in classes_of(result)}
    assert colors.pop("Outlier") not in expected.values()
    assert colors.items() <= expected.items()


def test_named_clusters_show_their_names(result):
    names = {k: f"größer, „rund“ {k}" for k in range(4)}
    shown = {c["name"] for c in classes_of(named(result, names))}
    assert len(shown) >= 4
    assert shown <= {"Outlier", "Cluster 4", *(f"größer, „rund“ {k}" for k in names)}


def test_file_says_where_it_comes_from(result):
    collection, answer = as_geojson(result), as_json(result)
    assert {key: collection[key] for key in ("notice", "tile", "label", "segmentation", "bundle")} == {
        key: answer[key] for key in ("notice", "tile", "label", "segmentation", "bundle")
    }


def test_file_is_ascii_for_readers_that_do_not_take_it_for_utf_8(result):
    assert render(named(result, {0: "größer"}), "geojson").isascii()


def test_tile_without_cells_is_an_empty_collection(empty_result):
    check_features(empty_result)
    assert as_geojson(empty_result)["features"] == []
