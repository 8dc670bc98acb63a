import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from app.batch.plan.plan import StainNumbers
from app.pipeline.networks.encode import rounded_features
from app.pipeline.run import analyse
from app.pipeline.stain.unmix import unmix
from tests.batch.one_slide import MAX_PIXELS, analysed_whole, outlines, prepared, probabilities, small_tiles
from tests.batch.read.drawn_slides import drawn_pixels, write_pyramid, write_striped
from tests.drawing import encoded

BLANK = (slice(0, 360), slice(0, 640))
"""Of the drawn slide: two tiles of glass, and the outline round them."""


@pytest.fixture(scope="module")
def pixels():
    drawn = np.tile(drawn_pixels(450, 350), (2, 2, 1))
    drawn[BLANK] = 255
    return drawn


def assert_same_cells(cells, whole):
    for name in ("x", "y", "area_px", "touches_border", "outlier"):
        np.testing.assert_array_equal(cells[name], whole[name], err_msg=name)
    np.testing.assert_allclose(probabilities(cells), whole["probs"], atol=1e-5)
    np.testing.assert_array_equal(probabilities(cells).argmax(1), whole["probs"].argmax(1))


def test_tiles_of_a_slide_have_the_very_cells_of_the_whole(tmp_path, pixels, bundle, monkeypatch):
    small_tiles(monkeypatch)
    slide = prepared(tmp_path / "run", write_striped(tmp_path / "a.tif", pixels), bundle).analyse()
    assert len(slide.plan.tiles) == 7
    whole = analysed_whole(pixels, slide.plan, bundle)
    assert len(whole["x"]) > 150
    assert_same_cells(slide.cells(), whole)


def test_real_tile_has_the_very_cells_of_the_whole(tmp_path, real_tile, bundle, monkeypatch):
    small_tiles(monkeypatch)
    slide = prepared(tmp_path / "run", write_striped(tmp_path / "a.tif", real_tile), bundle).analyse()
    assert len(slide.plan.tiles) == 16
    assert_same_cells(slide.cells(), analysed_whole(real_tile, slide.plan, bundle))


@pytest.mark.parametrize("mpp", [0.3, 0.2])
def test_rescaled_slide_has_as_many_cells_in_tiles_as_whole(tmp_path, pixels, bundle, monkeypatch, mpp):
    path = write_pyramid(tmp_path / "a.tif", pixels, mpp, compression="deflate")
    whole = prepared(tmp_path / "whole", path, bundle).analyse()
    small_tiles(monkeypatch)
    tiled = prepared(tmp_path / "tiled", path, bundle).analyse()
    assert (len(whole.plan.tiles), len(tiled.plan.tiles) > 5) == (1, True)
    n, n_whole = len(tiled.cells()["x"]), len(whole.cells()["x"])
    # A tile's pixels lie a part of a px beside those of the whole, and the network's edges move with them.
    assert n == pytest.approx(n_whole, rel=0.02)


def test_real_tile_has_as_many_cells_when_it_is_rescaled(tmp_path, real_tile, bundle, monkeypatch):
    path = write_pyramid(tmp_path / "a.tif", real_tile, 0.3, compression="deflate")
    whole = prepared(tmp_path / "whole", path, bundle).analyse().cells()
    small_tiles(monkeypatch)
    tiled = prepared(tmp_path / "tiled", path, bundle).analyse().cells()
    # Some 400 cells in tiles of 300 px, five times as many seams as a slide has.
    assert len(tiled["x"]) == pytest.approx(len(whole["x"]), rel=0.02)
    places, others = (np.column_stack([cells["x"], cells["y"]]) for cells in (tiled, whole))
    nearest = np.hypot(*(places[:, None] - others).T).min(axis=0)
    # A tile's pixels lie a part of a px beside those of the whole.
    assert np.quantile(nearest, 0.95) < 1


def test_slide_of_one_tile_has_the_cells_of_an_upload(tmp_path, sample, bundle):
    path = tmp_path / "sample.png"
    path.write_bytes(sample)
    cells = prepared(tmp_path / "run", path, bundle).analyse().cells()
    analysis = analyse(sample, bundle, max_pixels=MAX_PIXELS)
    order = np.lexsort(analysis.cells.centroids.round(3).T)
    np.testing.assert_array_equal(cells["x"], analysis.cells.centroids[order, 0].round(3))
    np.testing.assert_array_equal(cells["area_px"], analysis.cells.areas_px[order])
    np.testing.assert_array_equal(cells["touches_border"], analysis.cells.touches_border[order])
    np.testing.assert_array_equal(probabilities(cells), analysis.cells.cluster_probs[order])


def test_outlines_lie_round_their_centres_and_within_the_slide(tmp_path, pixels, bundle, monkeypatch):
    small_tiles(monkeypatch)
    path = write_striped(tmp_path / "a.tif", pixels, 0.3)
    cells = prepared(tmp_path / "run", path, bundle).analyse().cells()
    polygons = outlines(cells)
    assert shapely.is_valid(polygons).all()
    assert shapely.within(polygons, shapely.box(0, 0, 900, 700)).all()
    # The corners of pixels are cut off.
    np.testing.assert_allclose(shapely.area(polygons), cells["area_px"], rtol=0.15)
    assert shapely.contains_xy(polygons, cells["x"] + 0.5, cells["y"] + 0.5).mean() > 0.99


def test_cells_beyond_the_regions_are_left_out(tmp_path, pixels, bundle, monkeypatch):
    small_tiles(monkeypatch)
    path = write_striped(tmp_path / "a.tif", pixels)
    every = prepared(tmp_path / "all", path, bundle).analyse().cells()
    drawn = [shapely.box(250, 250, 350, 500), shapely.Point(640, 420).buffer(90)]
    features = [{"type": "Feature", "geometry": shapely.geometry.mapping(area)} for area in drawn]
    (tmp_path / "r.geojson").write_text(json.dumps(features))
    slide = prepared(tmp_path / "some", path, bundle, regions=tmp_path / "r.geojson").analyse()
    inside = shapely.covers(shapely.union_all(drawn), shapely.centroid(outlines(every)))
    cells = slide.cells()
    assert 10 < inside.sum() < len(inside)
    np.testing.assert_array_equal(cells["x"], every["x"][inside])
    np.testing.assert_array_equal(cells["geometry"], every["geometry"][inside])


def test_stain_is_the_same_after_it_was_written_down(bundle):
    params = bundle.manifest.segmentation
    drawn = drawn_pixels(240, 200)
    estimate = unmix(drawn, params.stain, params.engine).estimate
    numbers = StainNumbers.model_validate_json(StainNumbers.of(estimate).model_dump_json())
    again = unmix(drawn, params.stain, params.engine, numbers.estimate())
    np.testing.assert_array_equal(again.haematoxylin, unmix(drawn, params.stain, params.engine).haematoxylin)


def test_slide_without_a_stain_has_no_tile(tmp_path, bundle):
    grey = np.full((200, 300, 3), 120, np.uint8)
    (tmp_path / "grey.png").write_bytes(encoded(grey))
    slide = prepared(tmp_path / "run", tmp_path / "grey.png", bundle)
    assert (slide.plan.stain, slide.plan.tiles) == (None, ())


def test_slide_is_seen_as_the_manifest_says_and_its_table_has_the_features(tmp_path, pixels, bundle, monkeypatch):
    small_tiles(monkeypatch)
    slide = prepared(tmp_path / "run", write_striped(tmp_path / "a.tif", pixels), bundle).analyse()
    expected = rounded_features(analysed_whole(pixels, slide.plan, bundle)["features"])
    table = pq.read_table(slide.write() / "cells.parquet")
    features = np.array(table["features"].to_pylist())[np.lexsort([table["x"], table["y"]])]
    assert features.shape == (len(expected), bundle.manifest.n_features)
    np.testing.assert_allclose(features, expected, rtol=2e-3, atol=1e-3)
