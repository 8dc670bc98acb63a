import numpy as np

from training.bundle.sample_tile import draw_tile


def test_sample_tile_is_drawn_from_cells_and_a_seed(cells):
    many = np.tile(cells.crops, (2, 1, 1, 1))
    first, again, other = (draw_tile(many, seed) for seed in (0, 0, 1))
    assert first.shape == (512, 512, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_white_cells_leave_the_background_as_it_is():
    blank = draw_tile(np.full((144, 32, 32, 3), 255, np.uint8))
    np.testing.assert_array_equal(blank, draw_tile(np.zeros((0, 32, 32, 3), np.uint8)))
