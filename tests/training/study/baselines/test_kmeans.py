import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from tests.training.study.drawn_cells import placed
from training.study.baselines.kmeans import KMeansOn


class Looks:
    """Three features of a crop: mean colour times 1,000, share of the canvas, and a constant."""

    def fit(self, cells):
        pass

    def features(self, crops):
        flat = crops.reshape(len(crops), -1)
        return np.stack([flat.mean(1) * 1000, (flat == 255).mean(1), np.ones(len(crops))], axis=1).astype(np.float32)


@pytest.fixture
def fitted(three_kinds):
    system = KMeansOn(Looks(), 3, seed=0)
    system.fit(placed(three_kinds))
    return system


def test_kinds_become_clusters(fitted, three_kinds, kinds):
    clusters = fitted.clusters(three_kinds)
    assert clusters.dtype == np.int64
    assert adjusted_rand_score(kinds, clusters) == 1


def test_a_crop_keeps_its_cluster_among_others(fitted, three_kinds):
    clusters = fitted.clusters(three_kinds)
    assert fitted.clusters(three_kinds[[100, 3]]).tolist() == [clusters[100], clusters[3]]


def test_the_unit_of_a_feature_does_not_matter():
    """Without standardisation the large feature, which is noise, would decide."""
    random = np.random.default_rng(0)
    crops = np.full((60, 32, 32, 3), 255, np.uint8)
    crops[:, 0] = random.integers(0, 254, (60, 1, 1))
    crops[30:, :16] = crops[30:, :1]

    class NoiseAndSize(Looks):
        def features(self, crops):
            return np.stack([crops[:, 0, 0, 0] * 100.0, (crops == 255).mean((1, 2, 3))], 1).astype(np.float32)

    system = KMeansOn(NoiseAndSize(), 2, seed=0)
    system.fit(placed(crops))
    assert adjusted_rand_score(np.arange(60) < 30, system.clusters(crops)) == 1


def test_notes_of_equal_clusters(fitted):
    notes = fitted.notes()
    assert notes["largest_share"] == pytest.approx(1 / 3)
    # Of three standardised features one is constant, so all cells together are at a mean squared distance of 2.
    assert 0 < notes["mean_squared_distance"] < 0.2
    assert notes["iterations"] >= 1
