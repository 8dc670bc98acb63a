import numpy as np
import pytest

from app.pipeline.stain import native as stain
from app.pipeline.stain.native import (
    haematoxylin_first,
    haematoxylin_image,
    lab_statistics,
    rgb_to_lab,
)
from app.pipeline.stain.optical_density import is_tissue, nuclear_density, optical_density
from app.pipeline.types import LabStatistics
from tests.drawing import EOSIN, HAEMATOXYLIN, draw_tile, grid_of_centres, mix


def reinhard(tile, mean, sd):
    """A tile that is normalised from its own statistics."""
    return stain.reinhard(tile, lab_statistics(tile.reshape(-1, 3)), LabStatistics(np.asarray(mean), np.asarray(sd)))


def macenko(tile):
    return stain.macenko(tile.reshape(-1, 3), **PAPER_MACENKO)


PAPER_MACENKO = {"min_magnitude": 16, "angle_percentiles": (1, 99)}
OTHER_PAIR = (np.array([0.75, 0.60, 0.28]), np.array([0.25, 0.93, 0.27]))


def unit_pair(vectors):
    return tuple(vector / np.linalg.norm(vector) for vector in vectors)


def test_optical_density_of_white_black_and_the_middle():
    # od = 255 · (1 − ln(I + 1) / ln 256); ln 16 is half of ln 256.
    np.testing.assert_allclose(optical_density(np.array([255, 0, 15], np.uint8)), [0, 255, 127.5], atol=1e-9)


def test_optical_density_falls_over_all_values():
    density = optical_density(np.arange(256, dtype=np.uint8))
    assert (np.diff(density) < 0).all()


def test_lab_of_white_by_hand():
    # Each LMS row sums to about 1: all three logarithms are about ln 255, so l = √3 · ln 255 and α = β = 0.
    np.testing.assert_allclose(rgb_to_lab(np.full((1, 3), 255, np.uint8))[0], [3**0.5 * np.log(255), 0, 0], atol=5e-3)


def test_lab_and_back_loses_at_most_the_truncation():
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    pixels[0, :8] = [[0, 0, 0], [255] * 3, [255, 0, 0], [0, 255, 0], [0, 0, 255], [1, 0, 0], [0, 0, 1], [254, 255, 0]]
    unmoved = LabStatistics(np.zeros(3), np.ones(3))
    difference = pixels.astype(int) - stain.reinhard(pixels, unmoved, unmoved)
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


def test_stages_do_not_write_to_their_input():
    tile = draw_tile(grid_of_centres())
    tile.flags.writeable = False
    normalised = reinhard(tile, np.array([8.98, -0.08, 0.02]), np.array([0.64, 0.11, 0.03]))
    normalised.flags.writeable = False
    matrix = macenko(normalised)
    matrix.flags.writeable = False
    nuclear_density(haematoxylin_image(normalised, matrix), is_tissue(tile, 16))


def mixtures(vectors, haematoxylin_share):
    """Pixels from pure haematoxylin to pure eosin, with enough of both ends to fill the outer percentiles."""
    rng = np.random.default_rng(3)
    share = np.concatenate(
        [np.zeros(1500), np.ones(1500), rng.beta(4 * haematoxylin_share, 4 - 4 * haematoxylin_share, 17_000)]
    )
    amount = rng.uniform(60, 140, share.size)
    return mix(amount * share, amount * (1 - share), vectors).reshape(100, 200, 3)


@pytest.mark.parametrize("haematoxylin_share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("vectors", [(HAEMATOXYLIN, EOSIN), unit_pair(OTHER_PAIR)], ids=["Ruifrok", "bluer"])
def test_macenko_recovers_the_stains_that_were_mixed(vectors, haematoxylin_share):
    found = macenko(mixtures(vectors, haematoxylin_share))
    np.testing.assert_allclose(found, np.column_stack(vectors), atol=1e-2)


def test_macenko_ignores_background():
    stained = mixtures((HAEMATOXYLIN, EOSIN), 0.5)
    # Faint grey: it lies outside both stains and would widen the angles if it counted.
    faint = np.random.default_rng(0).integers(243, 256, (300, 200, 1), dtype=np.uint8).repeat(3, axis=2)
    found = macenko(np.concatenate([stained, faint]))
    np.testing.assert_allclose(found, np.column_stack([HAEMATOXYLIN, EOSIN]), atol=1e-2)


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(np.full((20, 20, 3), 255, np.uint8), id="white"),
        pytest.param(np.zeros((20, 20, 3), np.uint8), id="black"),
        pytest.param(np.full((20, 20, 3), 128, np.uint8), id="grey"),
        pytest.param(np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2), id="grey ramp"),
        pytest.param(mix(np.zeros((20, 20)), np.full((20, 20), 80.0)), id="eosin only"),
        pytest.param(mix(np.full((20, 20), 80.0), np.zeros((20, 20))), id="haematoxylin only"),
        pytest.param(mixtures((HAEMATOXYLIN, EOSIN), 0.5)[:1, :99], id="99 stained pixels"),
        pytest.param(mixtures((HAEMATOXYLIN, EOSIN), 0.5)[:1, :1], id="one pixel"),
    ],
)
def test_macenko_finds_no_stains_where_there_are_not_two(pixels):
    assert macenko(pixels) is None


@pytest.mark.parametrize("vectors", [(HAEMATOXYLIN, EOSIN), unit_pair(OTHER_PAIR)], ids=["Ruifrok", "bluer"])
@pytest.mark.parametrize("swapped", [False, True])
def test_haematoxylin_comes_first_whatever_the_order(vectors, swapped):
    given = np.column_stack(vectors[::-1] if swapped else vectors)
    np.testing.assert_array_equal(haematoxylin_first(given), np.column_stack(vectors))


def test_eosin_leaves_no_trace_in_the_haematoxylin_image():
    eosin_only = mix(np.zeros((1, 80)), np.linspace(0, 80, 80)[None])
    assert haematoxylin_image(eosin_only, np.column_stack([HAEMATOXYLIN, EOSIN])).min() >= 250


def test_haematoxylin_image_shows_the_amount_of_haematoxylin():
    amount = np.array([[0.0, 20.0, 60.0, 100.0]])
    expected = 256 ** (1 - amount / 255) - 1
    for eosin in (0.0, 30.0):
        found = haematoxylin_image(mix(amount, np.full_like(amount, eosin)), np.column_stack([HAEMATOXYLIN, EOSIN]))
        np.testing.assert_allclose(found, expected, atol=5)


def test_tissue_is_neither_glass_nor_black():
    # Magnitude of a grey of 240 is √3 · 255 · (1 − ln 241 / ln 256) = 4.8, and of 200 it is 19.2.
    row = np.array([[[255] * 3, [240] * 3, [200] * 3, [0] * 3, [8, 3, 8], [9, 3, 8], [120, 40, 130]]], np.uint8)
    assert is_tissue(row, 16).tolist() == [[False, False, True, False, False, True, True]]


def test_nuclear_density_parts_pale_from_dark():
    haematoxylin = np.full((60, 120), 230, np.uint8)
    haematoxylin[:, 60:] = 40
    pale, dark = optical_density(np.array([230, 40], np.uint8))
    assert pale <= nuclear_density(haematoxylin, np.ones((60, 120), bool)) < dark


def test_glass_round_a_tile_leaves_its_nuclear_density():
    tile = draw_tile(grid_of_centres())
    matrix = np.column_stack([HAEMATOXYLIN, EOSIN])
    framed = np.pad(tile, ((30, 40), (50, 20), (0, 0)), constant_values=255)
    plain, padded = (nuclear_density(haematoxylin_image(t, matrix), is_tissue(t, 16)) for t in (tile, framed))
    assert plain == padded


def test_nuclear_density_without_tissue_is_nothing():
    assert nuclear_density(np.full((5, 5), 255, np.uint8), np.zeros((5, 5), bool)) == 0
