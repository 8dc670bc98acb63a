import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.batch.plan.grid import MARGIN_PX, ONE_TILE_PX, TILE_PX, core_of, cores, squares, tile_edge

sides = st.integers(1, 60)


@given(sides, sides, st.integers(1, 50))
def test_squares_cover_every_pixel_once_in_reading_order(width, height, edge):
    covered = np.zeros((height, width), int)
    found = list(squares(width, height, edge))
    for window in found:
        covered[window.y : window.y + window.height, window.x : window.x + window.width] += 1
    assert (covered == 1).all()
    assert found == sorted(found)


@given(sides, sides, st.integers(1, 50))
def test_core_is_known_from_its_corner(width, height, edge):
    for window in squares(width, height, edge):
        assert core_of(window.x, window.y, width, height, edge) == window


@given(sides, sides, st.integers(0, 20))
def test_margin_ends_where_the_slide_does(width, height, by):
    for window in squares(width, height, 40):
        grown = window.grown(by, width, height)
        assert (grown.x, grown.y) == (max(0, window.x - by), max(0, window.y - by))
        assert grown.x + grown.width == min(width, window.x + window.width + by)
        assert grown.y + grown.height == min(height, window.y + window.height + by)


def test_only_wanted_cores_are_tiles():
    assert cores(250, 150, 100, lambda core: core.width == 100 or core.y > 0) == (
        (0, 0),
        (100, 0),
        (0, 100),
        (100, 100),
        (200, 100),
    )


def test_slide_that_is_not_larger_than_a_tile_with_its_margins_is_one():
    side = TILE_PX + 2 * MARGIN_PX
    assert tile_edge(side, side, 1.0) == side
    assert tile_edge(side + 1, side, 1.0) == TILE_PX
    assert tile_edge(2 * side, 2 * side, 2.0) == 2 * side
    assert tile_edge(2 * side, 2 * side + 1, 2.0) == 2 * TILE_PX
    assert len(list(squares(side, side, tile_edge(side, side, 1.0)))) == 1


def test_long_and_narrow_slide_of_few_pixels_is_one_tile():
    width = ONE_TILE_PX // 10
    assert list(squares(width, 10, tile_edge(width, 10, 1.0))) == [core_of(0, 0, width, 10, width)]
