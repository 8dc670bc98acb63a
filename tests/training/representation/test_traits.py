import numpy as np
import pytest

from app.pipeline.fit.describe import explained
from training.representation.traits import explained_traits, measure_traits


def crop(height, width, colour=100):
    made = np.full((32, 32, 3), 255, np.uint8)
    made[4 : 4 + height, 4 : 4 + width] = colour
    return made


def test_traits_of_a_rectangle_are_those_of_its_sides():
    found = measure_traits(np.stack([crop(8, 8), crop(4, 16)]))
    assert found["area"].tolist() == [64, 64]
    assert found["density"] == pytest.approx(np.log(255 / 100))
    # Second moments of n pixels in a row: (n² − 1) / 12.
    assert found["eccentricity"] == pytest.approx([0, np.sqrt(1 - 15 / 255)])
    assert found["contrast"].tolist() == [0, 0]


def test_contrast_is_the_step_between_neighbours_within_the_nucleus():
    striped = crop(8, 8)
    striped[4:12, 4:12:2] = 50
    # Each of the 8 rows has 7 steps of log 2 along x; the 7 · 8 pairs along y have none.
    assert measure_traits(striped[None])["contrast"] == pytest.approx(np.log(2) / 2)


def test_explained_share_is_one_between_clusters_and_none_within():
    clusters = np.repeat([0, 2], 4)
    assert explained(np.repeat([1.0, 5.0], 4), clusters) == pytest.approx(1)
    assert explained(np.tile([1.0, 5.0], 4), clusters) == pytest.approx(0)
    # Means 1 and 3, and ±1 within: variances 1 between and 1 within.
    assert explained(np.array([0, 2, 0, 2, 2, 4, 2, 4.0]), clusters) == pytest.approx(0.5)
    assert explained(np.ones(8), clusters) == 0


def test_clusters_by_size_explain_size_alone():
    random = np.random.default_rng(0)
    clusters = np.arange(60) % 2
    crops = np.stack([crop(6 + 6 * big, 6 + 6 * big, int(random.integers(60, 160))) for big in clusters])
    found = explained_traits(crops, clusters)
    assert found["area"] == pytest.approx(1)
    assert found["density"] < 0.2


def test_what_a_crop_holds_of_the_surroundings_changes_no_trait():
    alone = np.stack([crop(8, 8), crop(4, 16, colour=50)])
    around = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 4), np.uint8)
    both = measure_traits(np.concatenate([alone, around], axis=3))
    for name, values in measure_traits(alone).items():
        np.testing.assert_array_equal(both[name], values)
