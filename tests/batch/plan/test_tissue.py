import numpy as np
import pytest

from app.batch.plan.tissue import BLOCK, CELL_PX, overview, without_specks
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
    seen = overview(slide_of(640, 480, (64, 96, 256, 128), (512, 320, 96, 96)), 1.0, MAGNITUDE)
    expected = np.zeros((15, 20), bool)
    expected[3:7, 2:10] = expected[10:13, 16:19] = True
    np.testing.assert_array_equal(seen.tissue, expected)
    assert seen.cell_px == CELL_PX
    assert (seen.pixels[~expected] == 255).all()


def test_blocks_meet_without_a_seam():
    side = CELL_PX * (BLOCK + 6)
    across = (CELL_PX * (BLOCK - 4), CELL_PX * (BLOCK - 4), CELL_PX * 8, CELL_PX * 8)
    seen = overview(slide_of(side, side, across), 1.0, MAGNITUDE)
    assert seen.tissue.sum() == 64
    assert seen.tissue[BLOCK - 4 : BLOCK + 4, BLOCK - 4 : BLOCK + 4].all()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (10, 700), (33, 47), (641, 655), (2060, 2050)])
def test_all_of_a_stained_slide_is_tissue_to_its_border(width, height):
    seen = overview(slide_of(width, height, (0, 0, width, height)), 1.0, MAGNITUDE)
    assert seen.tissue.all()
    x, y = seen.edges()
    assert (x[0], x[-1], y[0], y[-1]) == (0, width, 0, height)
    assert (np.diff(x) > 0).all()
    assert len(x) == seen.tissue.shape[1] + 1


@pytest.mark.parametrize("downsample", [0.25, 0.8, 1.7, 4.0])
def test_scale_of_the_slide_does_not_change_what_is_seen(downsample):
    sides = [round(side * downsample) for side in (1280, 960)]
    area = [round(at * downsample) for at in (320, 320, 640, 320)]
    seen = overview(slide_of(*sides, area), downsample, MAGNITUDE)
    assert seen.tissue.mean() == pytest.approx(320 * 640 / (1280 * 960), rel=0.1)  # to half a px at the outline


def test_dust_is_no_tissue_unless_there_is_nothing_else():
    tissue = np.zeros((20, 20), bool)
    tissue[3, 3:5] = True
    np.testing.assert_array_equal(without_specks(tissue), tissue)
    larger = tissue.copy()
    larger[10:14, 10:14] = True
    assert without_specks(larger).sum() == 16
    assert not without_specks(np.zeros((20, 20), bool)).any()


def test_tile_beside_an_outline_is_looked_at_too_and_one_far_from_it_is_not():
    seen = overview(slide_of(960, 960, (320, 320, 320, 320)), 1.0, MAGNITUDE)
    assert seen.touches(Window(320, 320, 10, 10))
    assert seen.touches(Window(640, 640, 320, 320))
    assert not seen.touches(Window(673, 673, 287, 287))
    assert not seen.touches(Window(0, 0, 960, 256))


def test_share_of_a_window_that_is_tissue():
    seen = overview(slide_of(960, 960, (320, 320, 320, 320)), 1.0, MAGNITUDE)
    assert seen.share(Window(320, 320, 320, 320)) == 1
    assert seen.share(Window(320, 0, 640, 320)) == 0.5
    assert seen.share(Window(0, 0, 320, 320)) == 0
