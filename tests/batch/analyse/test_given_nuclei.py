"""Nuclei of a slide that another program has found."""

import json

import numpy as np
import pytest
import shapely

from app.batch.plan.nuclei import middle
from app.batch.read.slide import SlideError
from app.pipeline.errors import InvalidNuclei
from tests.batch.one_slide import outlines, prepared, probabilities, small_tiles
from tests.batch.read.drawn_slides import drawn_pixels, write_striped
from tests.batch.write.test_slide_results import summary_of

WIDTH, HEIGHT = 900, 700
RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def pixels():
    return np.tile(drawn_pixels(450, 350), (2, 2, 1))


@pytest.fixture(scope="module")
def path(tmp_path_factory, pixels):
    return write_striped(tmp_path_factory.mktemp("slide") / "a.tif", pixels, 0.25)


def feature(ring, **properties):
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}


def write(path, *features, **members):
    path.write_text(json.dumps({"type": "FeatureCollection", **members, "features": features}))
    return path


def blobs(number=300, largest=14):
    """Rings of nuclei, some of which overlap, lie beyond the border, or are larger than the margin of a tile."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    for i in range(number):
        radius = (90 if i % 60 == 0 else RNG.uniform(3, largest)) * RNG.uniform(0.8, 1.2, 24)
        centre = RNG.uniform((-5, -5), (WIDTH + 5, HEIGHT + 5))
        yield (centre + radius[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])).round(2).tolist()


def assert_same(cells, others):
    for name in ("x", "y", "area_px", "touches_border"):
        np.testing.assert_array_equal(cells[name], others[name], err_msg=name)
    np.testing.assert_allclose(probabilities(cells), probabilities(others), atol=1e-5)


def test_our_own_nuclei_give_the_very_same_cells(tmp_path, path, bundle, monkeypatch):
    small_tiles(monkeypatch)
    own = prepared(tmp_path / "own", path, bundle).analyse()
    written = own.write() / "cells.geojson"
    again = prepared(tmp_path / "again", path, bundle, nuclei=written).analyse()
    assert len(own.plan.tiles) == 9
    assert len(own.cells()["x"]) > 200
    assert_same(again.cells(), own.cells())


@pytest.mark.parametrize("mpp", [0.25, 0.5])
def test_tiles_change_nothing(tmp_path, path, bundle, monkeypatch, mpp):
    nuclei = write(tmp_path / "n.geojson", *map(feature, blobs(largest=14 if mpp == 0.25 else 8)))
    whole = prepared(tmp_path / "whole", path, bundle, nuclei=nuclei, mpp=mpp).analyse()
    small_tiles(monkeypatch)
    tiled = prepared(tmp_path / "tiled", path, bundle, nuclei=nuclei, mpp=mpp).analyse()
    assert (len(whole.plan.tiles), len(tiled.plan.tiles) >= 9) == (1, True)
    assert len(whole.cells()["x"]) > 150
    assert_same(tiled.cells(), whole.cells())
    # Each tile says what it left out; together that is what the whole slide left out.
    flags = [summary_of(slide.write()).quality.flags[-1] for slide in (whole, tiled)]
    assert flags[0] == flags[1]
    assert flags[0].code == "upload_nuclei_dropped"


def test_results_say_whose_nuclei_they_are_and_what_was_left_out(tmp_path, path, bundle):
    square = [[100, 100], [130, 100], [130, 130], [100, 130], [100, 100]]
    nuclei = write(
        tmp_path / "n.geojson",
        feature([[0, 0], [800, 0], [800, 600], [0, 600]], objectType="annotation"),
        feature(square, objectType="detection"),
        feature(square, objectType="detection"),
        feature((np.array(square) + 5000).tolist(), objectType="detection"),
        feature((np.array(square) * 9).tolist(), objectType="tile"),
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 1]}, "properties": {}},
        feature([[200, 100], [230, 140], [230, 100], [200, 144]], objectType="detection"),  # it crosses itself
    )
    slide = prepared(tmp_path / "run", path, bundle, nuclei=nuclei).analyse()
    cells = slide.cells()
    assert shapely.bounds(outlines(cells)).tolist()[0] == [100, 100, 130, 130]
    assert len(cells["x"]) == 2
    folder = slide.write()
    summary = summary_of(folder)
    assert (summary.segmentation.source, summary.segmentation.method) == ("upload", "geojson")
    assert summary.inputs.nuclei_sha256 is not None
    uploaded, dropped = summary.quality.flags[-2:]
    assert (uploaded.code, dropped.code) == ("nuclei_uploaded", "upload_nuclei_dropped")
    for words in (
        "1 too small, or mostly covered",
        "1 in several pieces, of which the largest was kept",
        "1 outside the slide",
        "kind tile",
        "1 features without a polygon",
    ):
        assert words in dropped.message
    assert "found by another program" in (folder / "report.html").read_text()


def test_regions_hold_for_the_nuclei_of_others(tmp_path, path, bundle):
    rings = [[[x, 100], [x + 30, 100], [x + 30, 130], [x, 130]] for x in (100, 500)]
    nuclei = write(tmp_path / "n.geojson", *map(feature, rings))
    regions = write(tmp_path / "r.geojson", feature([[400, 0], [700, 0], [700, 300], [400, 300], [400, 0]]))
    cells = prepared(tmp_path / "run", path, bundle, nuclei=nuclei, regions=regions).analyse().cells()
    assert shapely.bounds(outlines(cells)).tolist() == [[500, 100, 530, 130]]


SQUARE = [[100, 100], [130, 100], [130, 130], [100, 130]]
FRAME = {"name": "bounds", "x": 0, "y": 0, "canvas_width": 9, "canvas_height": 9}


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        ("no GeoJSON", SlideError, "n.geojson is not GeoJSON"),
        ('{"features": 7}', SlideError, "n.geojson is not GeoJSON"),
        ({"mag": 40, "nuc": {}}, SlideError, "an object with the members mag, nuc is no feature"),
        (
            [{**feature(SQUARE), "properties": {"objectType": "cell"}}],
            SlideError,
            "no nucleus within the slide of 900 x 700 px (1 cells without a nucleus)",
        ),
        ([feature([[5000, 5000], [5030, 5000], [5030, 5030]])], SlideError, "no nucleus within the slide of 900 x 700"),
        ([feature([[0, 0], [899, 0], [899, 699]])], SlideError, "1 longer than 512 px"),
        ([feature(SQUARE), feature([[1, 2], ["a", 3]])], InvalidNuclei, "Feature 2 of the nuclei"),
        ({"frame": FRAME, "features": [feature(SQUARE)]}, SlideError, "the coordinates of the frame 'bounds'"),
        (
            {"frame": {**FRAME, "name": "canvas"}, "width": 9, "height": 8, "features": [feature(SQUARE)]},
            SlideError,
            "the nuclei of another slide, of 9 x 8 px",
        ),
    ],
)
def test_bad_nuclei_are_refused_in_words(tmp_path, path, bundle, content, error, words):
    nuclei = tmp_path / "n.geojson"
    nuclei.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(error) as refused:
        prepared(tmp_path / "run", path, bundle, nuclei=nuclei)
    assert words in str(refused.value)


def test_slide_with_an_empty_file_of_nuclei_has_no_cells(tmp_path, path, bundle):
    nuclei = write(tmp_path / "n.geojson")
    slide = prepared(tmp_path / "run", path, bundle, nuclei=nuclei).analyse()
    # Its tissue is still looked at.
    assert slide.plan.tiles == ((0, 0),)
    assert summary_of(slide.write()).cells == 0


@pytest.mark.parametrize(
    ("ring", "at"),
    [
        ([[0, 0], [4, 0], [4, 2], [0, 2]], (2, 1)),
        ([[1e6, 1e6], [1e6 + 3, 1e6], [1e6, 1e6 + 3]], (1e6 + 1, 1e6 + 1)),
        ([[0, 0], [2, 2], [2, 0], [0, 2]], (1, 1)),  # it crosses itself, and its parts cancel out
    ],
)
def test_middle_is_that_of_the_area(ring, at):
    assert middle(np.array(ring, float)) == pytest.approx(at)
