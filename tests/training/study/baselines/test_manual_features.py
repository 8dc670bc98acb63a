import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from tests.training.study.drawn_cells import placed
from training.study.baselines.manual_features import LBP_PATTERNS, ManualFeatures, ManualFeaturesKMeans

SIFT, LBP, LAB = slice(0, 128), slice(128, 164), slice(164, 188)


@pytest.fixture
def describe():
    return ManualFeatures(seed=0).features


def drawn(colour, half=10):
    crop = np.full((1, 32, 32, 3), 255, np.uint8)
    crop[:, 16 - half : 16 + half, 16 - half : 16 + half] = colour
    return crop


def test_there_are_188_values_of_each_cell(describe, three_kinds):
    features = describe(three_kinds)
    assert features.shape == (len(three_kinds), 188)
    assert features.dtype == np.float32
    assert np.linalg.norm(features[:, SIFT], axis=1) == pytest.approx(1, abs=1e-5)
    assert features[:, LBP].sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert features[:, LAB].sum(axis=1) == pytest.approx(3, abs=1e-5)


def test_eight_neighbours_have_36_patterns_up_to_rotation():
    assert len(LBP_PATTERNS) == 36
    assert {0b0, 0b1, 0b101, 0b11111111} <= set(LBP_PATTERNS)
    assert not {0b10, 0b1010, 0b11111110} & set(LBP_PATTERNS)


def test_a_blank_crop_has_no_gradient_and_no_texture(describe):
    features = describe(np.full((1, 32, 32, 3), 255, np.uint8))[0]
    assert not features[SIFT].any()
    assert not features[LBP].any()
    assert np.flatnonzero(features[LAB]).tolist() == [7, 8 + 2, 16 + 5]


def test_texture_ignores_rotation_and_gradients_do_not(describe, three_kinds):
    crops = three_kinds[:5].copy()
    # A dark half, so that the gradients have a side.
    crops[:, :16] //= 2
    features, turned = describe(crops), describe(np.rot90(crops, axes=(1, 2)))
    assert turned[:, LBP] == pytest.approx(features[:, LBP], abs=0.02)
    assert turned[:, LAB] == pytest.approx(features[:, LAB], abs=1e-6)
    assert np.abs(turned[:, SIFT] - features[:, SIFT]).max() > 0.1


def test_the_histogram_depends_on_lightness_and_size(describe):
    # Grey 128 has L* = 53.6, so it is in bin 4 of 8; its a* and b* are 0, as those of the canvas.
    lightness = describe(drawn(128))[0, LAB][:8]
    assert lightness[[4, 7]] == pytest.approx([400 / 1024, 624 / 1024])


def test_the_descriptor_sees_the_crop_up_to_its_edge(describe):
    plain, marked = drawn(100, half=6), drawn(100, half=6)
    marked[:, 2:6, 13:19] = 0
    assert np.abs(describe(plain)[:, SIFT] - describe(marked)[:, SIFT]).max() > 0.05


def test_kinds_become_clusters(three_kinds, kinds):
    system = ManualFeaturesKMeans(3, 0)
    system.fit(placed(three_kinds))
    assert adjusted_rand_score(kinds, system.clusters(three_kinds)) > 0.9
