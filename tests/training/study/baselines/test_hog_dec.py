import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from training.study.baselines import dec
from training.study.baselines.hog_dec import HogDec, hog_features


def test_a_cell_has_2048_gradient_values(three_kinds):
    features = hog_features(three_kinds[:3])
    assert features.shape == (3, 2048)
    assert features.dtype == np.float32
    assert 0 <= features.min() < features.max() <= 1


def test_gradients_lie_at_the_edge_of_the_nucleus():
    """A black square of 16 px: its edges lie in a ring of 5 × 5 cells, whose middle is flat as the canvas is."""
    crop = np.full((1, 32, 32, 3), 255, np.uint8)
    crop[:, 8:24, 8:24] = 0
    blocks = hog_features(crop).reshape(8, 8, -1).any(axis=-1)
    expected = np.zeros((8, 8), bool)
    expected[1:7, 1:7] = True
    expected[3:5, 3:5] = False
    assert np.array_equal(blocks, expected)


def test_a_blank_crop_has_no_gradient():
    assert not hog_features(np.full((1, 32, 32, 3), 255, np.uint8)).any()


def test_kinds_become_clusters(three_kinds, kinds, monkeypatch):
    monkeypatch.setattr(dec, "HIDDEN", (64, 32, 64))
    monkeypatch.setattr(dec, "PRETRAINING_ITERATIONS", 60)
    system = HogDec(3, 0)
    system.fit(three_kinds)
    assert adjusted_rand_score(kinds, system.clusters(three_kinds)) > 0.9
    notes = system.notes()
    assert notes["largest_share"] == pytest.approx(1 / 3, abs=0.05)
    assert np.isfinite(list(notes.values())).all()
