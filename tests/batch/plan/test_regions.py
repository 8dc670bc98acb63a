import gzip
import json

import numpy as np
import pytest
import shapely

from app.batch.plan import regions
from app.batch.plan.plan import Region
from app.batch.plan.regions import read_regions, region_members, region_names, regions_file
from app.batch.read.slide import SlideError

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
def read(tmp_path):
    def read(content, pack=False):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        path = tmp_path / "drawn.geojson"
        path.write_bytes(gzip.compress(data) if pack else data)
        found = read_regions(path, WIDTH, HEIGHT)
        return {region.name: shapely.from_wkt(region.wkt) for region in found}

    return read


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


def test_what_is_to_be_ignored_is_cut_out_of_all_regions(read):
    content = collection(
        drawn(polygon(0, 0, 100), "a"),
        drawn(polygon(50, 50, 100), None, "Ignore*"),
        drawn(polygon(90, 90, 10), "inside what is ignored"),
        drawn(polygon(100, 0, 100), "b"),
    )
    assert areas(read(content)) == {"a": 7500, "b": 7500}


def test_holes_and_several_parts_are_kept(read):
    parts = [polygon(0, 0, 100, (10, 10, 30, 30))["coordinates"], polygon(200, 0, 50)["coordinates"]]
    found = read(drawn({"type": "MultiPolygon", "coordinates": parts}, "two"))
    assert areas(found) == {"two": 100**2 - 20**2 + 50**2}
    assert not shapely.contains_xy(found["two"], 20, 20)


def test_region_ends_where_the_slide_does_and_one_beyond_it_is_none(read):
    content = [drawn(polygon(-50, -50, 100), "corner"), drawn(polygon(WIDTH, 0, 100), "beside")]
    assert areas(read(content)) == {"corner": 2500}


def test_results_points_and_lines_are_no_regions(read):
    content = [
        BOX,
        drawn(polygon(0, 0, 10), "a cell", kind="cell"),
        drawn(polygon(0, 0, 10), "a nucleus", kind="detection"),
        drawn({"type": "Point", "coordinates": [1, 2]}),
        drawn({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}),
        {"type": "Feature", "geometry": None, "properties": {}},
    ]
    assert read(content).keys() == {"Biopsy"}


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
        (b"{}", "drawn.geojson holds no area within the slide (1000 x 800 px)"),
        (collection(), "holds no area within the slide"),
        (collection(drawn(polygon(5000, 0, 10))), "holds no area within the slide"),
        (drawn(polygon(0, 0, 0)), "holds no area within the slide"),
        (drawn({"type": "Polygon", "coordinates": "here"}, "odd"), "a region 'odd' whose coordinates make no area"),
        (drawn({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, "odd"), "region 'odd'"),
        (drawn({"type": "Polygon"}, "odd"), "region 'odd'"),
        (drawn({"type": "MultiPolygon", "coordinates": [[1]]}, "odd"), "region 'odd'"),
        (b'{"geometry": {"type": "Polygon", "coordinates": [[[0,0],[NaN,5],[5,5],[0,0]]]}}', "region 'Region'"),
        (b'{"geometry": {"type": "Polygon", "coordinates": [[[0,0],[1e999,5],[5,5],[0,0]]]}}', "region 'Region'"),
    ],
)
def test_what_holds_no_region_is_refused_in_words(read, content, message):
    with pytest.raises(SlideError) as refused:
        read(content)
    assert message in str(refused.value)


def test_file_that_would_fill_the_memory_is_refused(read, monkeypatch):
    monkeypatch.setattr(regions, "MAX_BYTES", 1000)
    with pytest.raises(SlideError, match="has more than 1000 bytes"):
        read(b" " * 100_000, pack=True)


def test_absent_file_is_refused(tmp_path):
    with pytest.raises(SlideError, match=r"gone.geojson cannot be read: No such file"):
        read_regions(tmp_path / "gone.geojson", 10, 10)


@pytest.mark.parametrize(
    "name", ["p1--a.geojson", "a.svs.geojson", "a.geojson", "a.json", "a.geojson.gz", "p1--a.geojson.gz"]
)
def test_regions_of_a_slide_are_found_by_its_id_or_its_files_name(tmp_path, name):
    (tmp_path / name).touch()
    (tmp_path / "b.geojson").touch()
    assert regions_file(tmp_path, "p1--a", "a.svs") == tmp_path / name


def test_slide_without_regions_in_the_folder_is_refused(tmp_path):
    with pytest.raises(SlideError, match=r"has no a\.geojson"):
        regions_file(tmp_path, "p1--a", "a.svs")


def test_many_regions_are_read_as_they_are(read):
    rng = np.random.default_rng(0)
    boxes = {f"r{i}": (*rng.integers(0, 700, 2).tolist(), 100) for i in range(200)}
    found = read([drawn(polygon(*box), name) for name, box in boxes.items()])
    assert list(found) == list(boxes)
    assert set(areas(found).values()) == {100.0**2}


LEFT = Region(name="left", wkt=shapely.box(0, 0, 50, 100).wkt)
TOP = Region(name="top", wkt=shapely.box(0, 0, 100, 50).wkt)
RING = Region(name="ring", wkt=(shapely.Point(50, 50).buffer(30) - shapely.Point(50, 50).buffer(10)).wkt)


def test_members_of_a_region_are_the_cells_whose_outlines_have_their_centre_in_it():
    pixels = np.random.default_rng(0).integers(0, 100, (300, 2))
    outlines = shapely.box(*pixels.T, *(pixels.T + 1))  # of cells of one pixel
    members = region_members(pixels.astype(float), (LEFT, TOP, RING))
    for region, inside in zip((LEFT, TOP, RING), members, strict=True):
        assert 0 < inside.sum() < 300
        np.testing.assert_array_equal(
            inside, shapely.contains(shapely.from_wkt(region.wkt), shapely.centroid(outlines))
        )


def test_cell_at_the_edge_of_a_region_lies_on_the_side_that_its_outline_shows():
    """A cell of the pixels 14 and 15 has its outline from 14 to 16, and so its centre at 15, not at 14.5."""
    centroid = np.array([[14.5, 10.0]])
    for end, is_inside in {14.8: False, 15.2: True}.items():
        region = Region(name="r", wkt=shapely.box(0, 0, end, 100).wkt)
        assert region_members(centroid, (region,)).tolist() == [[is_inside]]


def test_no_regions_and_no_cells_have_no_members():
    assert region_members(np.zeros((300, 2)), ()).shape == (0, 300)
    assert region_members(np.zeros((0, 2)), (LEFT, TOP, RING)).shape == (3, 0)


def test_cell_in_several_regions_names_them_all():
    centroids, regions = np.array([(10.0, 10), (10, 90), (90, 10), (90, 90)]), (LEFT, TOP)
    assert region_names(region_members(centroids, regions), regions) == ["left; top", "left", "top", None]
    assert region_names(region_members(centroids, ()), ()) == [None] * 4
