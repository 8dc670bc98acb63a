"""Names of cells are read from GeoJSON, and matched to nuclei."""

import json
from dataclasses import replace

import numpy as np
import pytest

from app.pipeline.geometry import Cells
from app.pipeline.nuclei.measure import measure
from app.pipeline.types import Tile
from app.review.named_cells import (
    NO_CLASS,
    NO_PLACE,
    NOT_NAMED,
    InvalidNamedCells,
    NamedTile,
    gather,
    match_names,
    read_names,
)
from tests.review.geojson import document, feature, outline, point, square

SIDE = 10
CORNERS = [(20, 20), (60, 20), (100, 20), (20, 60), (60, 60), (100, 60)]
TILE = Tile(np.zeros((120, 160, 3), np.uint8), "a" * 64)


@pytest.fixture(scope="module")
def cells():
    """Six nuclei of 10 × 10 px; the centre of the first is (25, 25)."""
    labels = np.zeros((120, 160), np.int32)
    for i, (x, y) in enumerate(CORNERS):
        labels[y : y + SIDE, x : x + SIDE] = i + 1
    return Cells(measure(labels), np.zeros((len(CORNERS), 5), np.float32), (160, 120))


def named(cells, *files):
    """The name of each cell that has one, and what was matched."""
    matched = match_names([read_names(data, TILE) for data in files], cells)
    return dict(zip(matched.cells.tolist(), matched.names, strict=True)), matched


def names_of(cells, *features):
    return named(cells, document(*features))[0]


FORMS = {
    "a point": point(25, 25, "A"),
    "several points": feature("MultiPoint", [[25, 25]], "A"),
    "a point in a collection": {
        **point(0, 0, "A"),
        "geometry": {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [25, 25]}]},
    },
    "a detection": outline(21, 19, 10, "A"),
    "a cell with a nucleus": {
        **outline(0, 0, 90, "A", "cell"),
        "nucleusGeometry": {"type": "Polygon", "coordinates": [square(20, 20, 10)]},
    },
    "a cell without a nucleus": outline(18, 18, 14, "A", "cell"),
    "a small annotation": outline(20, 20, 10, "A", "annotation"),
    "an annotation without a kind": feature("Polygon", [square(20, 20, 10)], "A", object_type=None),
    "a MultiPolygon": feature("MultiPolygon", [[square(20, 20, 10)]], "A", object_type="detection"),
    "a plain string, as in old files": outline(20, 20, 10, None)
    | {"properties": {"objectType": "detection", "classification": "A"}},
    "names, as QuPath 0.4 has them": point(25, 25, {"names": ["A"]}),
    "the kind as id, as in QuPath 0.2": {
        "type": "Feature",
        "id": "PathDetectionObject",
        "geometry": {"type": "Polygon", "coordinates": [square(20, 20, 10)]},
        "properties": {"classification": {"name": "A", "colorRGB": -377282}},
    },
    "another way round": feature("Polygon", [square(20, 20, 10)[::-1]], "A", object_type="detection"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_qupath_names_its_cell(cells, form):
    assert names_of(cells, FORMS[form]) == {0: "A"}


def test_a_derived_class_has_its_whole_name(cells):
    assert names_of(cells, point(25, 25, "A: Positive"), point(65, 25, {"names": ["A", "B"]})) == {
        0: "A: Positive",
        1: "A: B",
    }


def test_every_point_of_a_multipoint_names_a_cell(cells):
    centres = [[x + 5, y + 5] for x, y in CORNERS[:3]]
    assert names_of(cells, feature("MultiPoint", centres, "A")) == {0: "A", 1: "A", 2: "A"}


def test_an_area_names_every_cell_whose_centre_lies_in_it(cells):
    """It holds the centres of the upper three cells, and cuts the last one."""
    assert names_of(cells, feature("Polygon", [[[15, 15], [106, 15], [106, 40], [15, 40]]], "A")) == dict.fromkeys(
        range(3), "A"
    )


def test_a_hole_of_an_area_is_no_part_of_it(cells):
    rings = [square(10, 10, 108), square(50, 50, 30)]
    assert set(names_of(cells, feature("Polygon", rings, "A"))) == {0, 1, 2, 3, 5}


def test_a_large_detection_is_one_cell_and_no_area(cells):
    assert names_of(cells, outline(10, 10, 30, "A")) == {0: "A"}


def test_a_name_of_a_cell_goes_before_that_of_an_area(cells):
    assert names_of(cells, feature("Polygon", [square(10, 10, 80)], "A"), point(25, 25, "B")) == {
        0: "B",
        1: "A",
        3: "A",
        4: "A",
    }


def test_a_point_beside_a_nucleus_names_the_nearest_one_within_10_px(cells):
    assert names_of(cells, point(34.9, 25, "A")) == {0: "A"}
    found, matched = named(cells, document(point(35.2, 25, "A")))
    assert found == {}
    (missed,) = matched.unmatched
    assert (missed.name, missed.x, missed.y) == ("A", 35.2, 25)
    assert "more than 10 px" in missed.reason


def test_of_two_points_beside_a_nucleus_the_nearer_one_names_it(cells):
    found, matched = named(cells, document(point(33, 25, "B"), point(31, 25, "A")))
    assert found == {0: "A"}
    assert [one.name for one in matched.unmatched] == ["B"]


def test_a_point_on_a_nucleus_keeps_it_from_points_beside_it(cells):
    found, matched = named(cells, document(point(30.5, 25, "B"), point(21, 21, "A")))
    assert found == {0: "A"}
    assert [one.name for one in matched.unmatched] == ["B"]


def test_an_area_without_cells_and_a_tile_without_cells_leave_names_over(cells):
    found, matched = named(cells, document(feature("Polygon", [square(120, 80, 30)], "A")))
    assert (found, len(matched.unmatched)) == ({}, 1)
    nothing = Cells(measure(np.zeros((120, 160), np.int32)), np.zeros((0, 5), np.float32), (160, 120))
    found, matched = named(nothing, document(point(25, 25, "A"), outline(20, 20, 10, "B")))
    assert (found, [one.name for one in matched.unmatched]) == ({}, ["A", "B"])


def test_the_name_that_most_give_is_taken_and_said(cells):
    one, other = document(point(25, 25, "A"), point(65, 25, "A")), document(point(24, 24, "B"))
    found, matched = named(cells, one, other, one)
    assert found == {0: "A", 1: "A"}
    (words,) = matched.disagreements
    assert words == "The cell at (25, 25) has the names 'A' 2×, 'B' 1×; the first was taken."


def test_two_files_may_name_a_cell_alike(cells):
    found, matched = named(cells, document(point(34, 25, "A")), document(point(33, 25, "A")))
    assert (found, matched.unmatched, matched.disagreements) == ({0: "A"}, (), ())


@pytest.mark.parametrize("files", [1, 2])
def test_contradictory_names_are_refused_with_the_cell(cells, files):
    objects = [point(25, 25, "A"), point(24, 24, "B")]
    documents = [document(*objects)] if files == 1 else [document(one) for one in objects]
    with pytest.raises(InvalidNamedCells, match=r"the cell at \(25, 25\) is 'A' 1×, 'B' 1×"):
        named(cells, *documents)


def test_what_nobody_named_is_counted_and_names_nothing():
    read = read_names(
        document(
            outline(20, 20, 10, None),
            outline(20, 20, 10, "Cluster 3"),
            outline(20, 20, 10, "Outlier"),
            outline(0, 0, 99, "Region*", "annotation"),
            outline(20, 20, 10, "A", "TMACoreObject"),
            feature("LineString", [[0, 0], [9, 9]], "A"),
            feature("Polygon", [[]], "A"),
        ),
        TILE,
    )
    assert read.objects == ()
    assert read.skipped == {
        NO_CLASS: 1,
        NOT_NAMED: 2,
        "of the class Region*, which QuPath ignores": 1,
        "of the kind TMA core, which is not that of a nucleus": 1,
        NO_PLACE: 2,
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (document(point(25, 25, "A"), point(500, 25, "B")), "1 of 2 named objects lie outside .* 'B' at (500, 25)"),
        (document(point(25, -30, "A")), "those of another tile, or not in pixels"),
        (document(tile={"width": 99, "height": 120}), "those of another tile, of 99 x 120 px"),
        (document(tile={"sha256": "b" * 64}), "those of another file, with the SHA-256 bbbb"),
        (document(point("25", 25, "A")), "Feature 1 of the named cells: its coordinates"),
        (document(point(float("inf"), 25, "A")), "not a finite number|not GeoJSON"),
        (document(feature("Point", None, "A")), "Feature 1 of the named cells: its coordinates"),
        (document(feature("Polygon", 3, "A")), "Feature 1 of the named cells: its coordinates make no Polygon"),
        (b"", "The named cells are empty"),
        (b"not json", "The named cells are not GeoJSON"),
        (b"PK\3\4", "are a ZIP archive; send GeoJSON, unpacked."),
        (json.dumps({"a": 1}).encode(), "are JSON, but not GeoJSON: an object with the members a is no feature"),
    ],
)
def test_what_is_no_file_of_names_of_this_tile_is_refused(data, message):
    with pytest.raises(InvalidNamedCells, match=message.replace("(500, 25)", r"\(500, 25\)")):
        read_names(data, TILE)


def tile_of(names, sha256="a"):
    n = len(names)
    drawn = np.arange(n * 3, dtype=np.float32).reshape(n, 3)
    return NamedTile(drawn, drawn[:, :2].astype(float), drawn.astype(float), tuple(names), sha256)


def test_cells_of_tiles_are_gathered_with_their_groups():
    tiles = [tile_of(["b", "A"], "1"), tile_of([], "2"), tile_of(["c", "A", "A"], "3")]
    gathered = gather(tiles, ["second", "none", "first"], "patients", ["Y", "X", "Y"])
    assert gathered.type_names == ("A", "b", "c")
    assert gathered.types.tolist() == [1, 0, 2, 0, 0]
    assert gathered.groups.tolist() == [1, 1, 0, 0, 0]
    assert (gathered.tiles, gathered.reviewers, gathered.group_kind) == (("1", "3"), ("X", "Y"), "patients")
    assert (len(gathered), gathered.features.shape, gathered.measured.shape) == (5, (5, 3), (5, 2))
    assert gathered.select(np.array([4, 0])).types.tolist() == [0, 1]


def test_no_name_at_all_is_refused():
    with pytest.raises(InvalidNamedCells, match="No cell has a name"):
        gather([replace(tile_of([]))], ["a"], "tiles")


def test_names_of_another_tile_are_refused_if_enough_of_them_miss(cells):
    on = [point(x + 5, y + 5, "A") for x, y in CORNERS[:5]]
    beside = [point(45 + i, 45, "B") for i in range(6)]
    assert len(names_of(cells, *on, *beside[:5])) == 5, "half of them lie on nuclei"
    assert len(names_of(cells, on[0], *beside[:8])) == 1, "so few may all be cells that the bundle does not find"
    everywhere = outline(0, 0, 159, "C", "annotation")
    with pytest.raises(InvalidNamedCells, match=r"6 of 11 named objects lie on no nucleus of this tile, such as 'B'"):
        names_of(cells, *on, *beside, everywhere)
    with pytest.raises(InvalidNamedCells, match="of another tile"):
        named(cells, document(*on), document(*on, *beside))
    assert len(names_of(cells, everywhere, *([outline(40, 40, 1, "A", "annotation")] * 3))) == 6
