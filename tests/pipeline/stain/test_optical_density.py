import numpy as np

from app.pipeline.stain.macenko import haematoxylin_image
from app.pipeline.stain.optical_density import is_tissue, nuclear_density, optical_density
from tests.drawing import EOSIN, HAEMATOXYLIN, draw_tile, grid_of_centres


def test_optical_density_of_white_black_and_the_middle():
    # od = 255 · (1 − ln(I + 1) / ln 256); ln 16 is half of ln 256.
    np.testing.assert_allclose(optical_density(np.array([255, 0, 15], np.uint8)), [0, 255, 127.5], atol=1e-9)


def test_optical_density_falls_over_all_values():
    density = optical_density(np.arange(256, dtype=np.uint8))
    assert (np.diff(density) < 0).all()


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
