import io

import cv2
import numpy as np
import pytest
import tifffile

from app.batch.space.density import (
    OPACITY,
    box_edge,
    density_maps,
    density_png,
    density_tif,
    density_top,
    map_png,
    mean_limits,
    mean_map,
    scale_colors,
)
from tests.batch.cells import cells_at, mixed_cells


def decoded(png) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_counts_are_over_the_area_of_each_box():
    # 250 x 150 px in boxes of 100 px: the last column is half, the last row too.
    cells = cells_at(
        [(10, 10), (20, 20), (210, 10), (249, 149), (50, 50)], [0, 0, 1, 1, 0], np.zeros(5) < [0, 0, 0, 0, 1]
    )
    maps = density_maps(cells, 250, 150, 100, 1.0, 2)
    np.testing.assert_allclose(maps[0], [[200, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(maps[1], [[0, 0, 200], [0, 0, 400]])
    assert maps.dtype == np.float32


def test_cell_is_in_the_box_that_its_outline_is_in():
    """Cells of the pixels 98 and 99, of pixel 99, and of 99 and 100 have their middles at 99, 99.5 and 100.

    The box on the left ends at the edge 100, as a region may; a cell right on it counts once, on the right.
    """
    cells = cells_at([(98.5, 10), (99, 10), (99.5, 10)], [0, 0, 0])
    np.testing.assert_allclose(density_maps(cells, 200, 100, 100, 1.0, 1)[0], [[200, 100]])


def test_maps_hold_every_counted_cell_once():
    cells = mixed_cells(3000, 0.25)
    width, height = (np.ceil(cells.centroids.max(axis=0)) + 1).astype(int).tolist()
    edge = box_edge(0.25)
    maps = density_maps(cells, width, height, edge, 0.25, 5)
    heights = np.minimum(edge, height - edge * np.arange(maps.shape[1]))
    widths = np.minimum(edge, width - edge * np.arange(maps.shape[2]))
    counts = (maps * np.outer(heights, widths) * 0.25**2 / 1e6).sum(axis=(1, 2))
    np.testing.assert_allclose(counts, np.bincount(cells.clusters), rtol=1e-5)


@pytest.mark.parametrize(("um_per_px", "edge"), [(0.25, 400), (0.5, 200), (1000.0, 1)])
def test_a_box_is_about_100_um(um_per_px, edge):
    assert box_edge(um_per_px) == edge


def test_tiff_says_what_each_page_is_and_how_large_its_pixels_are():
    maps = np.random.default_rng(0).uniform(0, 5000, (3, 20, 30)).astype(np.float32)
    data = density_tif(maps, 100.0)
    with tifffile.TiffFile(io.BytesIO(data)) as tif:
        np.testing.assert_array_equal(np.stack([page.asarray() for page in tif.pages]), maps)
        assert [page.description for page in tif.pages] == [f"cluster {k}: cells per mm2" for k in range(3)]
        numerator, denominator = tif.pages[0].tags["XResolution"].value
        assert numerator / denominator == 100  # px per cm
        assert tif.pages[0].tags["ResolutionUnit"].value == 3
        assert "DateTime" not in tif.pages[0].tags
    assert density_tif(maps, 100.0) == data


def test_picture_shows_each_box_at_its_place_and_the_pale_slide_where_there_is_none():
    density = np.array([[0, 500], [1000, 2000]], np.float32)
    overview = np.full((80, 60, 3), 100, np.uint8)
    shown = decoded(density_png(density, overview, 1000.0, 40.0))
    assert shown.shape == overview.shape
    assert len(np.unique(shown[:40, :40].reshape(-1, 3), axis=0)) == 1
    assert shown[0, 0].std() == 0
    assert shown[0, 0, 0] > 200
    # What is above the top has the top's colour.
    np.testing.assert_array_equal(shown[60, 10], shown[60, 50])
    assert np.abs(shown[10, 50].astype(int) - shown[60, 50]).max() > 50


def test_empty_map_is_drawn():
    overview = np.full((8, 8, 3), 200, np.uint8)
    assert density_top(np.zeros((2, 1, 1), np.float32)) == 0
    assert np.ptp(decoded(density_png(np.zeros((1, 1), np.float32), overview, 0.0, 8.0))) == 0


def test_one_sliver_does_not_darken_the_scale():
    maps = np.full((1, 20, 20), 100, np.float32)
    maps[0, 0, 0] = 1e6
    assert density_top(maps) == pytest.approx(100)


def test_legend_has_the_colours_of_the_maps():
    """On a black slide a map's colours are the legend's, but for what shows through of the paled slide
    and for their fewer steps."""
    density = np.linspace(1e-6, 1.0, 9, dtype=np.float32)[None]
    shown = decoded(density_png(density, np.zeros((4, 36, 3), np.uint8), 1.0, 4.0))[0, ::4].astype(float)
    legend = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in scale_colors(9)], float)
    through = shown - OPACITY * legend
    assert np.ptp(through) < 12


def test_mean_of_a_box_is_that_of_its_measured_cells_that_are_no_outliers():
    cells = cells_at([(10, 10), (90, 90), (50, 50), (110, 10), (120, 10)], [0, 1, 2, 0, 0], [0, 0, 1, 0, 0])
    values = np.array([-4.0, 1.0, 1000.0, 7.0, np.nan])
    np.testing.assert_array_equal(mean_map(cells, values, 250, 100, 100), [[-1.5, 7.0, np.nan]])


def test_map_of_means_shows_the_lowest_darkest_and_no_colour_where_there_is_no_cell():
    means = np.array([[-1.5, 7.0, np.nan]], np.float32)
    low, high = mean_limits(means)
    assert -1.5 <= low < high <= 7.0
    overview = np.full((40, 120, 3), 100, np.uint8)
    dark, bright, none = decoded(map_png(means, overview, (low, high), 40.0))[20, [10, 50, 90]].astype(int)
    assert dark.sum() < bright.sum()
    assert none.std() == 0


def test_map_without_a_measured_cell_is_drawn():
    nothing = np.full((1, 1), np.nan, np.float32)
    assert mean_limits(nothing) == (0.0, 0.0)
    overview = np.full((8, 8, 3), 200, np.uint8)
    assert np.ptp(decoded(map_png(nothing, overview, (0.0, 0.0), 8.0))) == 0
