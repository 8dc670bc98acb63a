"""The measurements of a slide's cells: tiles, regions and nuclei of another program must not change them."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from app.batch.analyse.cells import SlideCells, kept_rows, slide_cells
from app.batch.summary import read_summary
from app.pipeline.measure.cells import NEIGHBOUR_COLUMNS, measure_cells
from app.pipeline.measure.table import INDEX, MEASUREMENTS
from app.pipeline.nuclei.border import cut_by_more_than_half
from app.pipeline.nuclei.segment import segment
from app.pipeline.stain.unmix import unmix
from tests.batch.one_slide import OneSlide, prepared, small_tiles
from tests.batch.read.drawn_slides import drawn_pixels, write_striped
from tests.drawing import discs, draw_tile

BLANK = (slice(0, 360), slice(0, 640))
"""Of the drawn slide: two tiles of glass."""
REACH_PX = 100
"""Neighbours are counted within 25 µm."""


@pytest.fixture(scope="module")
def pixels():
    # The period is no multiple of two, and nuclei lie on the border of the slide.
    drawn = np.tile(drawn_pixels(451, 351), (2, 2, 1))[9:-7, 13:]
    drawn[BLANK] = 255
    return drawn


def in_order(cells: SlideCells) -> tuple[np.ndarray, np.ndarray]:
    """Return the places and measurements of cells in reading order."""
    order = np.lexsort(cells.centroids.T)
    return cells.centroids[order], cells.measurements[order]


def cells_of(slide: OneSlide) -> tuple[np.ndarray, np.ndarray]:
    kept = kept_rows(slide.folder, slide.plan)
    return in_order(slide_cells(slide.folder, slide.plan, kept, slide.bundle.manifest))


def whole(pixels, slide: OneSlide) -> tuple[np.ndarray, np.ndarray]:
    """Return what is measured on a picture that is not cut into tiles, with the stain of the slide's plan."""
    manifest, plan = slide.bundle.manifest, slide.plan
    stains = unmix(pixels, manifest.segmentation.stain, manifest.segmentation.engine, plan.stain.estimate())
    nuclei = segment(stains, manifest.segmentation, slide.bundle.segmenter)
    values = measure_cells(stains, nuclei, manifest.mpp).shown(scale_known=True).astype(np.float32)
    kept = ~cut_by_more_than_half(nuclei)
    centroids = nuclei.centroids[kept].round(3)
    order = np.lexsort(centroids.T)
    return centroids[order], values[kept][order]


def assert_same(measured: np.ndarray, expected: np.ndarray) -> None:
    """Compare places or measurements; distances between neighbours are those of rounded places."""
    np.testing.assert_allclose(measured, expected, rtol=0, atol=0.0011)
    different = (measured != expected) & np.isfinite(measured)
    assert set(different.any(axis=0).nonzero()[0].tolist()) <= {INDEX["neighbour_distance"]}


@pytest.fixture(scope="module")
def slide(tmp_path_factory, pixels, bundle) -> OneSlide:
    folder = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch:
        small_tiles(patch)
        return prepared(folder / "run", write_striped(folder / "a.tif", pixels), bundle).analyse()


def test_a_cell_has_the_measurements_that_it_has_in_the_whole(slide, pixels):
    assert len(slide.plan.tiles) == 7
    centroids, measured = cells_of(slide)
    places, expected = whole(pixels, slide)
    assert len(centroids) > 150
    np.testing.assert_array_equal(centroids, places)
    assert_same(measured, expected)
    # Beyond the border of the slide nobody knows, and within it every cell has neighbours.
    near = np.minimum(centroids + 0.5, pixels.shape[1::-1] - centroids - 0.5).min(axis=1) < REACH_PX
    np.testing.assert_array_equal(np.isnan(measured[:, INDEX["neighbours_within_25_um"]]), near)
    assert np.isfinite(measured[~near]).mean() > 0.99
    touches = np.isnan(measured[:, INDEX["area"]])
    assert 0 < touches.sum() < len(touches) / 5


def test_real_tile_has_the_measurements_of_the_whole(tmp_path, real_tile, bundle, monkeypatch):
    small_tiles(monkeypatch)
    slide = prepared(tmp_path / "run", write_striped(tmp_path / "a.tif", real_tile), bundle).analyse()
    assert len(slide.plan.tiles) == 16
    for found, expected in zip(cells_of(slide), whole(real_tile, slide), strict=True):
        assert_same(found, expected)


def test_a_region_changes_no_measurement_but_those_of_neighbours_beyond_what_was_read(
    tmp_path, slide, bundle, monkeypatch
):
    small_tiles(monkeypatch)
    areas = [shapely.box(640, 20, 760, 290), shapely.Point(700, 420).buffer(90)]
    features = [{"type": "Feature", "geometry": shapely.geometry.mapping(area)} for area in areas]
    (tmp_path / "r.geojson").write_text(json.dumps(features))
    path = slide.folder.path.parent / "a.tif"
    some = prepared(tmp_path / "some", path, bundle, regions=tmp_path / "r.geojson").analyse()
    assert some.plan.tiles == ((608, 0), (608, 304))
    centroids, measured = cells_of(some)
    places, expected = cells_of(slide)
    inside = np.flatnonzero((places[:, None] == centroids).all(axis=2).any(axis=1))
    assert 20 < len(inside) == len(centroids)
    others = np.ones(len(MEASUREMENTS), bool)
    others[NEIGHBOUR_COLUMNS] = False
    np.testing.assert_array_equal(measured[:, others], expected[inside][:, others])
    seen = shapely.box(608, 0, slide.plan.width, 608)
    to_unseen = shapely.distance(seen.exterior, shapely.points(centroids + 0.5))
    counts, count_of_all = (
        measured[:, INDEX["neighbours_within_25_um"]],
        expected[inside, INDEX["neighbours_within_25_um"]],
    )
    np.testing.assert_array_equal(counts, np.where(to_unseen < REACH_PX, np.nan, count_of_all))
    assert 0 < np.isnan(counts).sum() < len(counts)


def slide_size(slide: OneSlide) -> tuple[int, int]:
    return slide.plan.width, slide.plan.height


def test_nuclei_that_are_given_back_have_the_same_measurements(tmp_path, slide, bundle, monkeypatch):
    small_tiles(monkeypatch)
    written = slide.write() / "cells.geojson"
    again = prepared(tmp_path / "again", slide.folder.path.parent / "a.tif", bundle, nuclei=written).analyse()
    (centroids, measured), (places, expected) = cells_of(again), cells_of(slide)
    np.testing.assert_array_equal(centroids, places)
    # Nuclei that the border of the slide cuts by more than half are no cells, so they are not given back.
    inner = np.minimum(places, np.array(slide_size(slide)) - places).min(axis=1) > 2 * REACH_PX
    assert inner.sum() > 20
    np.testing.assert_array_equal(measured[inner], expected[inner])


def test_sizes_are_in_px_where_the_scale_is_not_known(tmp_path, bundle):
    pixels = drawn_pixels(300, 250)
    known = prepared(tmp_path / "known", write_striped(tmp_path / "a.tif", pixels, 0.25), bundle).analyse()
    unknown = prepared(tmp_path / "unknown", write_striped(tmp_path / "b.tif", pixels, None), bundle).analyse()
    (_, in_um), (_, in_px) = cells_of(known), cells_of(unknown)
    for name, factor in {"area": 16, "feret_max": 4, "neighbour_distance": 4, "edge_sharpness": 0.25}.items():
        j = INDEX[name]
        np.testing.assert_allclose(in_px[:, j], in_um[:, j] * factor, rtol=0, atol=0.001 * (factor + 1) / 2)
    for name in ("haematoxylin_od_mean", "eccentricity", "neighbours_within_25_um"):
        np.testing.assert_array_equal(in_px[:, INDEX[name]], in_um[:, INDEX[name]])


def test_a_very_large_nucleus_counts_once_even_where_four_tiles_meet(tmp_path, bundle, monkeypatch):
    small_tiles(monkeypatch)
    places = [(304, 304), (100, 303), (608, 150), (700, 500)]
    small = [(x, y) for y in range(30, 600, 60) for x in range(30, 800, 60)]
    near = [centre for centre in small if min(np.hypot(*np.subtract(centre, place)) for place in places) > 90]
    pixels, large = draw_tile(near, shape=(608, 812)), draw_tile(places, shape=(608, 812), radius=30)
    shown = discs((608, 812), places, 34)
    pixels[shown] = large[shown]
    slide = prepared(tmp_path / "run", write_striped(tmp_path / "a.tif", pixels), bundle).analyse()
    cells = slide_cells(slide.folder, slide.plan, kept_rows(slide.folder, slide.plan), slide.bundle.manifest)
    found = np.flatnonzero(np.isfinite(cells.very_large_um))
    assert sorted(cells.centroids[found].round().astype(int).tolist()) == sorted(map(list, places))
    np.testing.assert_allclose(cells.very_large_um[found], 15, atol=0.3)
    written = slide.write()
    counted = read_summary(written / "summary.json").very_large_nuclei
    assert (counted.count, len(counted.nuclei)) == (4, 4)
    assert counted.per_mm2 == pytest.approx(4 / read_summary(written / "summary.json").tissue_mm2, abs=1e-3)
    table = pq.read_table(written / "cells.parquet")
    assert sorted(one.cells[0] for one in counted.nuclei) == found.tolist()
    assert table["very_large_um"].null_count == len(table) - 4
    assert (written / "report.html").read_text(encoding="utf-8").count("data:image/jpeg") == 1 + 4
