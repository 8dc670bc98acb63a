import cv2
import numpy as np

from tests.drawing import disc
from training.bundle.sample_tile import APART_PX, FAT_VACUOLES, draw_tile


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


PINK = np.array([205, 150, 190], np.uint8)


def seeing(n=400, *, radius=6.0, mask_radius=3.0):
    """Cells with a dark round nucleus, in plain pink surroundings in which it is not seen."""
    crops = np.zeros((n, 32, 32, 7), np.uint8)
    crops[..., :3] = 255
    crops[:, disc((32, 32), (15.5, 15.5), radius), :3] = 40
    crops[..., 3:6] = PINK
    crops[:, disc((32, 32), (15.5, 15.5), mask_radius), 6] = 255
    return crops


def is_fat():
    rows, columns = np.indices((512, 512))
    return np.any([(columns - x) ** 2 + (rows - y) ** 2 <= r**2 for x, y, r in FAT_VACUOLES], axis=0)


def test_tile_of_cells_in_their_surroundings_depends_on_the_cells_and_the_seed_alone():
    random = np.random.default_rng(0)
    cells = random.integers(0, 256, (400, 32, 32, 7), np.uint8)
    first, again, other = (draw_tile(cells, seed) for seed in (0, 0, 1))
    assert (first.shape, first.dtype) == ((512, 512, 3), np.uint8)
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


def test_every_nucleus_is_drawn_whole_at_a_place_of_its_own():
    tile = draw_tile(seeing())
    dark = (tile.max(axis=2) < 110).astype(np.uint8)
    _, _, boxes, middles = cv2.connectedComponentsWithStats(dark)
    cut = (boxes[:, :2] == 0).any(axis=1) | (boxes[:, :2] + boxes[:, 2:4] == 512).any(axis=1)
    assert 200 < (~cut).sum() < 400
    assert len(set(boxes[~cut, cv2.CC_STAT_AREA])) == 1
    distances = np.linalg.norm(middles[~cut, None] - middles[~cut], axis=2)
    assert distances[np.triu_indices(len(distances), 1)].min() > APART_PX - 1
    assert not dark[is_fat()].any()


def test_surroundings_fill_the_tile_but_for_the_fat_which_alone_is_white():
    tile = draw_tile(seeing())
    white, fat = tile.min(axis=2) > 230, is_fat()
    assert (white & fat).sum() > 0.98 * fat.sum()
    assert not (white & ~fat).any()
    nuclei = cv2.dilate((tile.max(axis=2) < 200).astype(np.uint8), np.ones((3, 3)))
    np.testing.assert_array_equal(
        tile[(nuclei == 0) & ~white], np.broadcast_to(PINK, (512, 512, 3))[(nuclei == 0) & ~white]
    )


def test_surroundings_of_different_colours_have_no_edge_between_them():
    cells = seeing(radius=0)
    cells[..., 3:6] = np.random.default_rng(0).integers(100, 200, 400, np.uint8)[:, None, None, None]
    tile = draw_tile(cells)[..., 0].astype(float)
    near_fat = cv2.dilate(is_fat().astype(np.uint8), np.ones((3, 3))) > 0
    for axis in (0, 1):
        steps = np.abs(np.diff(tile, axis=axis, append=np.take(tile, [-1], axis)))
        assert steps[~near_fat].max() < 20


def test_nucleus_that_was_scaled_down_to_its_crop_is_seen_in_its_surroundings_alone():
    tile = draw_tile(seeing(mask_radius=9.0))
    assert tile.min() >= PINK.min()
