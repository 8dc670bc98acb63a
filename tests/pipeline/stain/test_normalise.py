import numpy as np
import pytest

from app.pipeline.stain import normalise
from app.pipeline.stain.normalise import lab_statistics, rgb_to_lab
from app.pipeline.types import LabStatistics
from tests.drawing import draw_tile, grid_of_centres


def reinhard(tile, mean, sd):
    """A tile that is normalised from its own statistics."""
    return normalise.reinhard(
        tile, lab_statistics(tile.reshape(-1, 3)), LabStatistics(np.asarray(mean), np.asarray(sd))
    )


def test_lab_of_white_by_hand():
    # Each LMS row sums to about 1: all three logarithms are about ln 255, so l = √3 · ln 255 and α = β = 0.
    np.testing.assert_allclose(rgb_to_lab(np.full((1, 3), 255, np.uint8))[0], [3**0.5 * np.log(255), 0, 0], atol=5e-3)


def test_lab_and_back_loses_at_most_the_truncation():
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    pixels[0, :8] = [[0, 0, 0], [255] * 3, [255, 0, 0], [0, 255, 0], [0, 0, 255], [1, 0, 0], [0, 0, 1], [254, 255, 0]]
    unmoved = LabStatistics(np.zeros(3), np.ones(3))
    difference = pixels.astype(int) - normalise.reinhard(pixels, unmoved, unmoved)
    assert difference.min() >= 0
    assert difference.max() <= 1


@pytest.mark.parametrize("target_mean", [(8.2, -0.08, 0.02), (7.9, 0.1, -0.03)])
def test_reinhard_moves_mean_and_spread_to_the_target(target_mean):
    tile = draw_tile(grid_of_centres())
    target_sd = (0.25, 0.06, 0.02)
    lab = rgb_to_lab(reinhard(tile, np.array(target_mean), np.array(target_sd)))
    # Truncation to uint8 darkens by half a grey level: √3 · 0.5 / 120 in l.
    np.testing.assert_allclose(lab.mean(axis=(0, 1)), target_mean, atol=0.01)
    np.testing.assert_allclose(lab.std(axis=(0, 1)), target_sd, atol=0.005)


def test_reinhard_to_its_own_statistics_leaves_the_tile():
    tile = draw_tile(grid_of_centres())
    lab = rgb_to_lab(tile)
    same = reinhard(tile, lab.mean(axis=(0, 1)), lab.std(axis=(0, 1)))
    assert np.abs(same.astype(int) - tile).max() <= 1


def test_reinhard_takes_away_a_tint():
    tile = draw_tile(grid_of_centres())
    tinted = np.clip(tile * [0.85, 0.95, 0.75], 0, 255).astype(np.uint8)
    target = np.array([8.5, -0.08, 0.02]), np.array([0.3, 0.08, 0.02])
    difference = reinhard(tinted, *target).astype(int) - reinhard(tile, *target)
    assert np.abs(difference).mean() < 3


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (90, 20, 140)])
def test_plain_tile_has_no_spread_of_colour_to_move(colour):
    assert lab_statistics(np.full((600, 3), colour, np.uint8)) is None


def test_no_pixels_have_no_spread_of_colour():
    assert lab_statistics(np.zeros((0, 3), np.uint8)) is None
