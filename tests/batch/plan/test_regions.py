import gzip
import json

import numpy as np
import pytest
import shapely

from app.batch.plan import regions as module
from app.batch.plan.plan import Region
from app.batch.plan.regions import middles, read_regions, region_members, region_names
from app.batch.read.slide import SlideError
from app.pipeline.nuclei.measure import measure
from app.pipeline.nuclei.outlines import polygons

WIDTH, HEIGHT = 1000, 800


def polygon(x, y, side, *holes):
    rings = [shapely.box(*at).exterior for at in ((x, y, x + side, y + side), *holes)]
    return {"type": "Polygon", "coordinates": [list(map(list, ring.coords)) for ring in rings]}


def drawn(geometry, name=None, classification=None, kind="annotation"):
    """A feature as QuPath 0.5 writes it."""
    properties = {"objectType": kind}
    if name:
        properties["name"] = name
    if classification:
        properties["classification"] = {"name": classification, "color": [200, 0, 0]}
    return {"type": "Feature", "id": "00000000-0000-4000-8000-000000000000", "geometry": geometry} | {
        "properties": properties
    }


def collection(*features):
    return {"type": "FeatureCollection", "features": list(features)}


@pytest.fixture
def read_all(tmp_path):
    """Read regions, and what was skipped beside them."""

    def read_all(content, pack=False):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        path = tmp_path / "drawn.geojson"
        path.write_bytes(gzip.compress(data) if pack else data)
        found = read_regions(path, WIDTH, HEIGHT)
        return {region.name: shapely.from_wkt(region.wkt) for region in found.regions}, list(found.skipped)

    return read_all


@pytest.fixture
def read(read_all):
    return lambda content, pack=False: read_all(content, pack)[0]


def areas(found):
    return {name: area.area for name, area in found.items()}


BOX = drawn(polygon(10, 20, 100), "Biopsy")


@pytest.mark.parametrize("content", [collection(BOX), [BOX], BOX], ids=["collection", "list", "feature"])
@pytest.mark.parametrize("pack", [False, True], ids=["plain", "gzipped"])
def test_every_export_of_qupath_is_read(read, content, pack):
    found = read(content, pack)
    assert found.keys() == {"Biopsy"}
    assert found["Biopsy"].equals(shapely.box(10, 20, 110, 120))


def test_region_is_called_by_its_name_else_its_class_else_region(read):
    content = [
        drawn(polygon(0, 0, 10), "mine", "Tumor"),
        drawn(polygon(0, 0, 20), None, "Tumor"),
        drawn(polygon(0, 0, 30)),
        {"type": "Feature", "geometry": polygon(0, 0, 40), "properties": None} | {"id": 1},
    ]
    assert areas(read(content)) == {"mine": 100, "Tumor": 400, "Region 1": 900, "Region 2": 1600}


def test_equal_names_are_numbered_past_names_that_are_there(read):
    content = [drawn(polygon(0, 0, side), name) for side, name in ((1, "a"), (2, "a 1"), (3, "a"), (4, "b"))]
    assert areas(read(content)) == {"a 2": 1, "a 1": 4, "a 3": 9, "b": 16}


def test_what_is_to_be_ignored_is_cut_out_of_all_regions(read_all):
    content = collection(
        drawn(polygon(0, 0, 100), "a"),
        drawn(polygon(50, 50, 100), None, "Ignore*"),
        drawn(polygon(90, 90, 10), "inside what is ignored"),
        drawn(polygon(100, 0, 100), "b"),
    )
    found, skipped = read_all(content)
    assert areas(found) == {"a": 7500, "b": 7500}
    assert skipped == ["Skipped 'inside what is ignored': it lies in areas to ignore."]


def test_holes_and_several_parts_are_kept(read):
    parts = [polygon(0, 0, 100, (10, 10, 30, 30))["coordinates"], polygon(200, 0, 50)["coordinates"]]
    found = read(drawn({"type": "MultiPolygon", "coordinates": parts}, "two"))
    assert areas(found) == {"two": 100**2 - 20**2 + 50**2}
    assert not shapely.contains_xy(found["two"], 20, 20)


def test_region_ends_where_the_slide_does_and_one_beyond_it_is_none(read_all):
    content = [drawn(polygon(-50, -50, 100), "corner"), drawn(polygon(WIDTH, 0, 100), "beside")]
    found, skipped = read_all(content)
    assert areas(found) == {"corner": 2500}
    assert skipped == [
        "Skipped 'beside': it lies beyond the slide of 1000 x 800 px.",
        "Cut 'corner' off at the border of the slide: 75% of it lies beyond.",
    ]


def test_points_lines_and_what_has_no_outline_are_skipped_and_named(read_all):
    content = [
        BOX,
        drawn({"type": "Point", "coordinates": [1, 2]}, "a dot"),
        drawn({"type": "MultiPoint", "coordinates": [[1, 2]]}, None, "Tumor"),
        drawn({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}, "a ruler"),
        {"type": "Feature", "geometry": None, "properties": {}},
    ]
    found, skipped = read_all(content)
    assert found.keys() == {"Biopsy"}
    assert skipped == [
        "Skipped 'a dot', 'Tumor': points have no area.",
        "Skipped 'a ruler': lines have no area.",
        "Skipped 'Region': it has no outline.",
    ]


def feature(side, properties=None, **members):
    return {"type": "Feature", "geometry": polygon(0, 0, side), "properties": properties or {}, **members}


@pytest.mark.parametrize(
    ("annotation", "detection", "cell", "tile"),
    [
        [{"id": f"Path{kind}Object"} for kind in ("Annotation", "Detection", "Cell", "Tile")],
        *(
            [{"properties": {property_: kind}} for kind in ("annotation", "detection", "cell", "tile")]
            for property_ in ("object_type", "objectType", "type")
        ),
    ],
    ids=["0.2", "0.3", "0.4", "alias"],
)
def test_results_of_an_analysis_are_no_regions_in_any_version_of_qupath(read_all, annotation, detection, cell, tile):
    content = collection(
        feature(100, **annotation), *[feature(7, **detection)] * 3, feature(8, **cell), feature(9, **tile)
    )
    found, skipped = read_all(content)
    assert areas(found) == {"Region": 10_000}
    assert skipped == ["Skipped 3 detections, 1 cell, 1 tile: results of an analysis are no regions."]


def test_kind_is_that_of_the_properties_before_that_of_the_id(read):
    assert areas(read([feature(5, {"objectType": "annotation"}, id="PathDetectionObject")])) == {"Region": 25}
    # QuPath takes an object of a kind that it does not know for an annotation.
    assert areas(read([feature(5, {"objectType": "something"})])) == {"Region": 25}


BASE_THEN_DERIVED = {"name": "Positive", "colorRGB": -1, "parentClass": {"name": "Tumor", "colorRGB": -2}}


@pytest.mark.parametrize(
    ("classification", "name"),
    [
        ("Stroma", "Stroma"),
        ("Tumor: Positive", "Tumor: Positive"),
        ({"name": "Stroma", "color": [1, 2, 3]}, "Stroma"),
        ({"name": "Stroma", "colorRGB": -3670016}, "Stroma"),
        ({"names": ["Tumor", "Positive"], "color": [1, 2, 3]}, "Tumor: Positive"),
        (BASE_THEN_DERIVED, "Tumor: Positive"),
        ({}, "Region"),
        (None, "Region"),
        ({"names": []}, "Region"),
    ],
)
def test_class_is_read_and_shown_as_qupath_does(read, classification, name):
    assert read([feature(5, {"classification": classification})]).keys() == {name}


@pytest.mark.parametrize(
    "classification",
    [
        "Ignore*",
        "Ignore*: Fold",
        {"name": "Ignore*"},
        {"names": ["Ignore*", "Fold"]},
        {"names": ["Tumor", "Ignore*"]},
        {"name": "Fold", "colorRGB": -1, "parentClass": {"name": "Ignore*", "colorRGB": -2}},
    ],
)
def test_what_is_classified_as_ignored_in_any_form_is_cut_out(read, classification):
    content = [drawn(polygon(0, 0, 100), "a"), feature(10, {"classification": classification, "name": "fold"})]
    assert areas(read(content)) == {"a": 100**2 - 10**2}


def test_region_class_of_qupath_is_no_class_to_ignore(read):
    assert areas(read([feature(10, {"classification": "Region*"})])) == {"Region*": 100}


def test_nested_objects_are_regions_too_at_any_depth_and_place(read):
    fold = feature(10, {"classification": {"name": "Ignore*"}})
    inner = feature(50, {"name": "inner", "childObjects": [fold]})
    content = feature(100, {"name": "outer", "objectType": "annotation", "childObjects": [inner]})
    beside = feature(20, {"name": "beside"}, childObjects=[feature(15, {"name": "below"})])
    root = {
        "type": "Feature",
        "geometry": None,
        "properties": {"objectType": "root", "childObjects": [content, beside]},
    }
    assert areas(read(root)) == {"outer": 9900, "inner": 2400, "beside": 300, "below": 125}


def test_areas_of_a_collection_of_geometries_count(read_all):
    line = {"type": "LineString", "coordinates": [[0, 0], [50, 50]]}
    nested = {"type": "GeometryCollection", "geometries": [polygon(200, 0, 10), line]}
    parts = {"type": "GeometryCollection", "geometries": [polygon(0, 0, 20), nested]}
    found, skipped = read_all(
        [drawn(parts, "parts"), drawn({"type": "GeometryCollection", "geometries": [line]}, "line")]
    )
    assert areas(found) == {"parts": 500}
    assert skipped == ["Skipped 'line': lines have no area."]


@pytest.mark.parametrize("kind", [{"id": "TMACoreObject"}, {"properties": {"objectType": "tmaCore"}}])
def test_cores_of_a_tissue_microarray_are_regions_unless_they_are_missing(read_all, kind):
    def core(name, is_missing):
        made = feature(10, **kind)
        made["properties"] = {**made["properties"], "name": name, "isMissing": is_missing}
        return made

    found, skipped = read_all([core("A-1", False), core("A-2", True)])
    assert areas(found) == {"A-1": 100}
    assert skipped == ["Skipped 'A-2': the TMA core is marked as missing."]


NOT_FINITE = "its coordinates are not all finite numbers"
NO_POLYGON = "its coordinates make no polygon"


@pytest.mark.parametrize(
    ("coordinates", "reason"),
    [
        ("here", NO_POLYGON),
        ([[[5, 5], [6, 6]]], NO_POLYGON),
        ([[[0, 0], [float("nan"), 5], [5, 5], [0, 0]]], NOT_FINITE),
        ([[[0, 0], [float("inf"), 5], [5, 5], [0, 0]]], NOT_FINITE),
        ([[[0, 0], [9, 0], [9, 9], [0, 0]], [[1, 1], [float("nan"), 2], [2, 2], [1, 1]]], NOT_FINITE),
        ([[[0, 0], [9, 9], [0, 0], [0, 0]]], "its area is 0"),
        ([], "its area is 0"),
    ],
)
def test_one_bad_region_is_skipped_with_its_reason_and_the_others_stay(read_all, coordinates, reason):
    bad = drawn({"type": "Polygon", "coordinates": coordinates}, "click")
    found, skipped = read_all(collection(BOX, bad))
    assert areas(found) == {"Biopsy": 10_000}
    assert skipped == [f"Skipped 'click': {reason}."]


def test_heights_of_coordinates_are_left_out(read):
    ring = [[0, 0, 3], [10, 0, 3], [10, 10, 3], [0, 10, 3], [0, 0, 3]]
    found = read(drawn({"type": "Polygon", "coordinates": [ring]}, "flat"))
    assert (areas(found), found["flat"].has_z) == ({"flat": 100}, False)


def test_name_in_a_sentence_is_one_short_line(read_all):
    _, skipped = read_all([BOX, drawn({"type": "Point", "coordinates": [1, 2]}, "a\nb\x1b[2J" + "c" * 500)])
    assert skipped == [f"Skipped 'a b [2J{'c' * 73}': points have no area."]


def test_name_that_is_no_text_is_escaped(read):
    assert read(
        b'{"geometry": %s, "properties": {"name": "\\ud800"}}' % json.dumps(polygon(0, 0, 9)).encode()
    ).keys() == {"\\ud800"}


def test_many_names_are_counted_and_some_of_them_shown(read_all):
    dots = [drawn({"type": "Point", "coordinates": [1, 2]}, f"dot {i // 2}") for i in range(20)]
    _, skipped = read_all([BOX, *dots])
    shown = ", ".join(f"'dot {i}' (2 times)" for i in range(5))
    assert skipped == [f"Skipped {shown} and 10 more: points have no area."]


def test_outline_that_crosses_itself_is_two_areas(read):
    bow_tie = {"type": "Polygon", "coordinates": [[[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]]}
    found = read([drawn(bow_tie, "bow tie"), drawn(bow_tie, None, "Ignore*"), BOX])
    assert found.keys() == {"Biopsy"}
    assert areas(read(drawn(bow_tie, "bow tie"))) == {"bow tie": 50}


def test_spike_of_an_outline_is_no_area_and_does_no_harm(read):
    spiked = {"type": "Polygon", "coordinates": [[[0, 0], [10, 0], [20, 0], [10, 0], [10, 10], [0, 10], [0, 0]]]}
    found = read([drawn(spiked, "spiked"), drawn(polygon(5, 0, 30), None, "Ignore*"), BOX])
    assert found["spiked"].equals(shapely.box(0, 0, 5, 10))
    assert found["spiked"].geom_type == "Polygon"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "drawn.geojson is not GeoJSON."),
        (b"x,y\n1,2\n", "drawn.geojson is not GeoJSON."),
        (b"\xff\xfe\x00", "drawn.geojson is not GeoJSON."),
        (b"\x1f\x8b garbage", "drawn.geojson is not GeoJSON."),
        (gzip.compress(json.dumps(BOX).encode(), mtime=0)[:40], "drawn.geojson is not GeoJSON."),
        (b"[" * 200_000, "drawn.geojson is not GeoJSON."),
        (b"3", "drawn.geojson is not GeoJSON."),
        (b'{"features": 3}', "drawn.geojson is not GeoJSON."),
        (b"[[1, 2]]", "drawn.geojson is not GeoJSON."),
        (b"{}", "drawn.geojson is not GeoJSON."),
        (collection(), "holds no area within the slide"),
        (collection(drawn(polygon(5000, 0, 10))), "holds no area within the slide"),
        (drawn(polygon(0, 0, 0)), "holds no area within the slide"),
        (drawn({"type": "Polygon", "coordinates": "here"}, "odd"), "Skipped 'odd': its coordinates make no polygon."),
        (drawn({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, "odd"), "Skipped 'odd'"),
        (drawn({"type": "Polygon"}, "odd"), "Skipped 'odd'"),
        (drawn({"type": "MultiPolygon", "coordinates": [[1]]}, "odd"), "Skipped 'odd'"),
        (
            b'{"geometry": {"type": "Polygon", "coordinates": [[[0,0],[NaN,5],[5,5],[0,0]]]}}',
            "Skipped 'Region': its coordinates are not all finite numbers.",
        ),
        (
            b'{"geometry": {"type": "Polygon", "coordinates": [[[0,0],[1e999,5],[5,5],[0,0]]]}}',
            "Skipped 'Region': its coordinates are not all finite numbers.",
        ),
    ],
)
def test_what_holds_no_region_is_refused_in_words(read, content, message):
    with pytest.raises(SlideError) as refused:
        read(content)
    assert message in str(refused.value)


def test_file_that_would_fill_the_memory_is_refused(read, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    with pytest.raises(SlideError, match="has more than 1000 bytes"):
        read(b" " * 100_000, pack=True)


def test_absent_file_is_refused(tmp_path):
    with pytest.raises(SlideError, match=r"gone.geojson cannot be read: No such file"):
        read_regions(tmp_path / "gone.geojson", 10, 10)


def test_many_regions_are_read_as_they_are(read):
    rng = np.random.default_rng(0)
    boxes = {f"r{i}": (*rng.integers(0, 700, 2).tolist(), 100) for i in range(200)}
    found = read([drawn(polygon(*box), name) for name, box in boxes.items()])
    assert list(found) == list(boxes)
    assert set(areas(found).values()) == {100.0**2}


LEFT = Region(name="left", wkt=shapely.box(0, 0, 50, 100).wkt)
TOP = Region(name="top", wkt=shapely.box(0, 0, 100, 50).wkt)
RING = Region(name="ring", wkt=(shapely.Point(50, 50).buffer(30) - shapely.Point(50, 50).buffer(10)).wkt)


def nuclei_of(*rows):
    """The nuclei of a label image that is drawn with digits, 0 = background."""
    return measure(np.array([[int(pixel) for pixel in row] for row in rows], np.int32))


def outlines_of(nuclei):
    return np.array([shapely.Polygon(outer, holes) for outer, *holes in polygons(nuclei)], object)


def test_middle_of_an_outline_is_that_of_the_area_that_qupath_shows():
    """The outline of an L of three pixels cuts five corners off, of 1/8 px each, and adds one.

    Its area is 3 − 5/8 + 1/8 = 2.5. The corners lie at x = 0, 0, 2, 2 and 1, the added one at 1, each centroid a third
    of half a px further in: 2.5 − (1/6 + 1/6 + 11/6 + 11/6 + 5/6)/8 + (7/6)/8 = 2.0417, over 2.5.
    """
    nuclei = nuclei_of("110022", "100022")
    assert nuclei.centroids[0].tolist() == pytest.approx([1 / 3, 1 / 3])
    places = middles(outlines_of(nuclei))
    np.testing.assert_allclose(places, [[0.81667, 0.81667], [5, 1]], atol=1e-5)
    # The centroid of the pixels, at 1/3 + 1/2, is not in the region, and the middle of the outline is.
    region = Region(name="r", wkt=shapely.box(0, 0, 0.82, 0.83).wkt)
    assert region_members(places, (region,)).tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("end", "columns"),
    [
        (14.0, "0"),
        (14.3, "0"),
        (14.5, "01"),
        (14.8, "01"),
        (15.0, "012"),
        (15.3, "012"),
        (15.5, "0123"),
        (15.8, "0123"),
    ],
)
def test_cell_lies_where_its_outline_does_at_every_edge_of_a_region(end, columns):
    """Cells of the pixels 13 and 14, of 14, of 14 and 15, and of 15 have outlines with their middles at 14, 14.5, 15
    and 15.5, half a px beyond the centroids of the pixels. A cell on the edge of a region lies in it, as in QuPath.
    """
    boxes = [(13, 15), (14, 15), (14, 16), (15, 16)]
    places = middles(np.array([shapely.box(x0, 10, x1, 12) for x0, x1 in boxes], object))
    members = region_members(places, (Region(name="r", wkt=shapely.box(0, 0, end, 100).wkt),))
    assert [str(i) for i in np.flatnonzero(members[0])] == list(columns)


def test_members_of_a_region_are_the_cells_whose_outlines_have_their_middle_in_it():
    pixels = np.random.default_rng(0).integers(0, 100, (300, 2))
    outlines = shapely.box(*pixels.T, *(pixels.T + 1))  # of cells of one pixel
    members = region_members(middles(outlines), (LEFT, TOP, RING))
    for region, inside in zip((LEFT, TOP, RING), members, strict=True):
        assert 0 < inside.sum() < 300
        np.testing.assert_array_equal(inside, shapely.covers(shapely.from_wkt(region.wkt), shapely.centroid(outlines)))


def test_regions_have_the_decimals_that_are_written(read):
    found = read(drawn({"type": "Polygon", "coordinates": [[[0, 0], [9.9949, 0], [9.9949, 9], [0, 9], [0, 0]]]}, "r"))
    assert found["r"].equals(shapely.box(0, 0, 9.99, 9))


def test_no_regions_and_no_cells_have_no_members():
    assert region_members(np.zeros((300, 2)), ()).shape == (0, 300)
    assert region_members(np.zeros((0, 2)), (LEFT, TOP, RING)).shape == (3, 0)


def test_cell_in_several_regions_names_them_all():
    centroids, regions = np.array([(10.0, 10), (10, 90), (90, 10), (90, 90)]), (LEFT, TOP)
    assert region_names(region_members(centroids, regions), regions) == ["left; top", "left", "top", None]
    assert region_names(region_members(centroids, ()), ()) == [None] * 4
