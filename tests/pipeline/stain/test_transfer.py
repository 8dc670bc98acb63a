"""Tiles of one laboratory made to look like those of another, and what must not change on the way."""

import numpy as np
import pytest

from app.pipeline.presets import AMOUNT_PERCENTILES, DEFAULT, Appearance, Transfer
from app.pipeline.quality.measure import measure_focus
from app.pipeline.stain.optical_density import is_tissue
from app.pipeline.stain.transfer import density_matrix, measure_appearance, sample_tissue, transferred
from tests.drawing import EOSIN, HAEMATOXYLIN, draw_tile, grid_of_centres, mix

PARAMS = DEFAULT.stain
PURPLE = np.array([0.55, 0.76, 0.35]) / np.linalg.norm([0.55, 0.76, 0.35])
PINK = np.array([0.25, 0.92, 0.30]) / np.linalg.norm([0.25, 0.92, 0.30])


def amounts_of_tile(seed):
    """(2, H, W) haematoxylin and eosin of nuclei on uneven ground; the stains overlap, as in tissue."""
    tile = draw_tile(grid_of_centres((240, 300)), shape=(240, 300), seed=seed)
    density = 255 * (1 - np.log(tile + 1.0) / np.log(256))
    return np.moveaxis(density @ np.linalg.pinv(np.stack([HAEMATOXYLIN, EOSIN])), 2, 0).clip(0)


def look(*tiles):
    focus = [measure_focus(tile, is_tissue(tile, PARAMS.min_magnitude)) for tile in tiles]
    return measure_appearance([sample_tissue(tile, PARAMS) for tile in tiles], focus, PARAMS)


def test_tiles_of_the_same_laboratory_stay_as_they_are():
    tile = draw_tile(grid_of_centres())
    same = look(tile)
    changed = transferred(tile, Transfer(source=same, target=same, sharpening=0))
    assert np.abs(changed.astype(int) - tile).max() <= 3  # the colour table is interpolated
    assert transferred(tile, None) is tile


def test_stains_of_the_laboratory_become_those_of_the_training_tiles():
    """The matrix is derived by hand: twice the haematoxylin and half the eosin are wanted, in other colours."""
    percentiles = tuple(float(p) for p in range(1, 1 + len(AMOUNT_PERCENTILES)))
    mine = Appearance(stains=(tuple(PURPLE), tuple(PINK)), haematoxylin=percentiles, eosin=percentiles, focus=0.4)
    twice, half = (tuple(factor * p for p in percentiles) for factor in (2, 0.5))
    theirs = Appearance(stains=(tuple(HAEMATOXYLIN), tuple(EOSIN)), haematoxylin=twice, eosin=half, focus=0.4)
    matrix = density_matrix(Transfer(source=mine, target=theirs, sharpening=0))
    neither = np.cross(PURPLE, PINK)
    assert matrix @ PURPLE == pytest.approx(2 * HAEMATOXYLIN)
    assert matrix @ PINK == pytest.approx(0.5 * EOSIN)
    assert matrix @ neither == pytest.approx(neither)


def test_tile_of_another_laboratory_becomes_what_the_first_would_have_shown():
    """Both have the same tissue; the second has other dyes, half the haematoxylin, and twice the eosin."""
    haematoxylin, eosin = amounts_of_tile(0)
    wanted = mix(haematoxylin, eosin)
    other = mix(0.5 * haematoxylin, 2 * eosin, (PURPLE, PINK))
    found = transferred(other, Transfer(source=look(other), target=look(wanted), sharpening=0))
    before, after = (np.abs(picture.astype(int) - wanted).mean() for picture in (other, found))
    assert after < before / 4


def test_what_differs_between_tiles_of_a_laboratory_stays():
    """One of two tiles has more haematoxylin; it still has, by as much as in the first laboratory."""
    haematoxylin, eosin = amounts_of_tile(0)
    mine = [mix(factor * haematoxylin, eosin) for factor in (0.8, 1.2)]
    theirs = [mix(0.6 * factor * haematoxylin, eosin, (PURPLE, PINK)) for factor in (0.8, 1.2)]
    transfer = Transfer(source=look(*theirs), target=look(*mine), sharpening=0)
    nuclei = haematoxylin > 50
    wanted, found = (
        [float(picture[nuclei].mean()) for picture in pictures]
        for pictures in (mine, [transferred(tile, transfer) for tile in theirs])
    )
    assert found == pytest.approx(wanted, abs=4)


def test_white_tiles_have_no_appearance():
    white = np.full((100, 100, 3), 255, np.uint8)
    assert measure_appearance([sample_tissue(white, PARAMS)], [], PARAMS) is None


def test_sharpening_adds_detail_and_softening_takes_it_away():
    tile = draw_tile(grid_of_centres())
    same = look(tile)
    focus = [
        look(transferred(tile, Transfer(source=same, target=same, sharpening=sharpening))).focus
        for sharpening in (-0.8, 0.0, 1.0)
    ]
    assert focus == sorted(focus)
    assert focus[0] < 0.8 * focus[1] < 0.8 * 0.9 * focus[2]


def test_appearance_holds_a_number_for_each_percentile():
    with pytest.raises(ValueError, match="haematoxylin"):
        Appearance(stains=((1, 0, 0), (0, 1, 0)), haematoxylin=(1.0,), eosin=tuple(range(17)), focus=0.4)
