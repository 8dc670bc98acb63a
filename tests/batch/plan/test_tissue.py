import numpy as np
import pytest
import shapely

from app.batch.plan.plan import Region
from app.batch.plan.tissue import (
    BLOCK,
    OVERVIEW_PX,
    Overview,
    overview_of,
    read_overview,
    tissue_mm2,
    without_specks,
    write_overview,
)
from app.batch.read.image_slide import ImageSlide
from app.batch.read.slide import Window
from tests.drawing import mix

MAGNITUDE = 15.0
INK = mix(np.array([60.0]), np.array([40.0]))[0]


def slide_of(width, height, *areas):
    """A white slide with stained rectangles (x, y, width, height)."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    for x, y, w, h in areas:
        pixels[y : y + h, x : x + w] = INK
    return ImageSlide(pixels)


def test_rectangles_are_found_where_they_lie():
    overview = overview_of(slide_of(640, 480, (64, 96, 256, 128), (512, 320, 96, 96)), 1.0, MAGNITUDE)
    expected = np.zeros((15, 20), bool)
    expected[3:7, 2:10] = expected[10:13, 16:19] = True
    np.testing.assert_array_equal(overview.tissue, expected)
    assert overview.px == OVERVIEW_PX
    assert (overview.pixels[~expected] == 255).all()


def test_blocks_meet_without_a_seam():
    side = OVERVIEW_PX * (BLOCK + 6)
    across = (OVERVIEW_PX * (BLOCK - 4), OVERVIEW_PX * (BLOCK - 4), OVERVIEW_PX * 8, OVERVIEW_PX * 8)
    overview = overview_of(slide_of(side, side, across), 1.0, MAGNITUDE)
    assert overview.tissue.sum() == 64
    assert overview.tissue[BLOCK - 4 : BLOCK + 4, BLOCK - 4 : BLOCK + 4].all()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (10, 700), (33, 47), (641, 655), (2060, 2050)])
def test_all_of_a_stained_slide_is_tissue_to_its_border(width, height):
    overview = overview_of(slide_of(width, height, (0, 0, width, height)), 1.0, MAGNITUDE)
    assert overview.tissue.all()
    x, y = overview.edges()
    assert (x[0], x[-1], y[0], y[-1]) == (0, width, 0, height)
    assert (np.diff(x) > 0).all()
    assert len(x) == overview.tissue.shape[1] + 1


@pytest.mark.parametrize("downsample", [0.25, 0.8, 1.7, 4.0])
def test_scale_of_the_slide_does_not_change_what_is_seen(downsample):
    sides = [round(side * downsample) for side in (1280, 960)]
    area = [round(at * downsample) for at in (320, 320, 640, 320)]
    overview = overview_of(slide_of(*sides, area), downsample, MAGNITUDE)
    assert overview.tissue.mean() == pytest.approx(320 * 640 / (1280 * 960), rel=0.1)  # to half a px at the outline


def test_dust_is_no_tissue_unless_there_is_nothing_else():
    tissue = np.zeros((20, 20), bool)
    tissue[3, 3:5] = True
    np.testing.assert_array_equal(without_specks(tissue), tissue)
    larger = tissue.copy()
    larger[10:14, 10:14] = True
    assert without_specks(larger).sum() == 16
    assert not without_specks(np.zeros((20, 20), bool)).any()


def test_tile_beside_an_outline_is_looked_at_too_and_one_far_from_it_is_not():
    overview = overview_of(slide_of(960, 960, (320, 320, 320, 320)), 1.0, MAGNITUDE)
    assert overview.touches(Window(320, 320, 10, 10))
    assert overview.touches(Window(640, 640, 320, 320))
    assert not overview.touches(Window(673, 673, 287, 287))
    assert not overview.touches(Window(0, 0, 960, 256))


def test_share_of_a_window_that_is_tissue():
    overview = overview_of(slide_of(960, 960, (320, 320, 320, 320)), 1.0, MAGNITUDE)
    assert overview.share(Window(320, 320, 320, 320)) == 1
    assert overview.share(Window(320, 0, 640, 320)) == 0.5
    assert overview.share(Window(0, 0, 320, 320)) == 0


def region(area, name="r"):
    return Region(name=name, wkt=area.wkt)


@pytest.fixture
def half():
    """A slide of 100 x 64 px whose left half is tissue; the border cuts its last column of px."""
    tissue = np.zeros((2, 4), bool)
    tissue[:, :2] = True
    return Overview(np.zeros((2, 4, 3), np.uint8), tissue, 32, 100, 64)


@pytest.mark.parametrize(
    ("areas", "px"),
    [
        ([], 64 * 64),
        ([shapely.box(0, 0, 64, 64)], 64 * 64),
        ([shapely.box(0, 0, 100, 32)], 64 * 32),
        ([shapely.box(0, 0, 64, 64), shapely.box(32, 0, 100, 64)], 64 * 64),
        ([shapely.box(64, 0, 100, 64)], 0),
        ([shapely.box(3, 3, 8, 8)], 25),
        ([shapely.box(13, 13, 18, 18)], 25),
        ([shapely.box(70, 3, 75, 8)], 0),
    ],
)
def test_area_of_tissue_within_regions(half, areas, px):
    assert tissue_mm2(half, 0.5, tuple(map(region, areas))) == pytest.approx(px * 0.25e-6)


def test_area_ends_at_the_slides_border(half):
    half.tissue[:] = True
    assert tissue_mm2(half, 1.0, ()) == pytest.approx(100 * 64 * 1e-6)
    assert tissue_mm2(half, 1.0, (region(shapely.box(97, 0, 100, 64)),)) == pytest.approx(3 * 64 * 1e-6)
    assert tissue_mm2(half, 1.0, (region(shapely.box(50, 0, 100, 64)),)) == pytest.approx(36 * 64 * 1e-6)


def test_overview_is_read_as_it_was_written(tmp_path, half):
    path = tmp_path / "overview.npz"
    write_overview(half, path)
    again = read_overview(path)
    np.testing.assert_array_equal(again.tissue, half.tissue)
    np.testing.assert_array_equal(again.pixels, half.pixels)
    assert (again.px, again.width, again.height) == (32, 100, 64)
    write_overview(again, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()
