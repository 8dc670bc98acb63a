from dataclasses import replace

import numpy as np
import pytest

from training.label.descriptor import fit_standards
from training.label.simulated_bags import blast_like, simulate_bags


@pytest.fixture(scope="module")
def clusters(cells):
    """A Q that knows blasts: cluster 1; what is on the third tile: cluster 2."""
    return np.where(blast_like(cells.crops, cells.areas_px), 1, np.where(cells.tile_index == 2, 2, 0))


@pytest.fixture(scope="module")
def fit_config(smoke):
    return smoke.fit


@pytest.fixture(scope="module")
def simulated(cells):
    """Bags of the cells in given clusters, by a configuration."""
    return lambda clusters, k, config: simulate_bags(cells, clusters, k, config, fit_standards(cells, config))


def test_blasts_are_the_paler_half_of_the_largest_cells(cells):
    crops = np.full((10, 32, 32, 3), 255, np.uint8)
    greys = [0, 249, 10, 20, 30, 40, 50, 100, 150, 200]
    for crop, grey in zip(crops, greys, strict=True):
        crop[10:20, 10:20] = grey
    ten = replace(cells, crops=crops, compressed=crops, areas_px=np.arange(1, 11), tile_index=np.zeros(10, int))
    assert np.flatnonzero(blast_like(ten.crops, ten.areas_px)).tolist() == [8, 9]


def test_bags_alternate_and_go_through_the_tiles(simulated, clusters, fit_config):
    bags, tiles = simulated(clusters, 5, fit_config)
    assert bags.proportions.shape == (40, 5)
    assert bags.abnormal.tolist() == [0, 1] * 20
    assert tiles[:8].tolist() == [0, 0, 1, 1, 2, 2, 0, 0]
    np.testing.assert_allclose(bags.proportions.sum(axis=1), 1)
    counts = bags.proportions * fit_config.cells_per_bag
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-9)


def test_same_seed_gives_the_same_bags(simulated, clusters, fit_config):
    first, again, other = (simulated(clusters, 5, replace(fit_config, seed=seed))[0].proportions for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_normal_bags_hold_cells_of_their_own_tile_only(simulated, cells, fit_config):
    bags, tiles = simulated(cells.tile_index, 3, fit_config)
    normal = bags.abnormal == 0
    np.testing.assert_array_equal(bags.proportions[normal], np.eye(3)[tiles[normal]])


def test_share_of_blasts_in_abnormal_bags_is_within_its_range(simulated, clusters, fit_config):
    bags, tiles = simulated(clusters, 5, replace(fit_config, bags_per_class=200, cells_per_bag=400))
    # The third tile has no blasts of its own: its share is just what was put in.
    shares = bags.proportions[(bags.abnormal == 1) & (tiles == 2), 1]
    low, high = fit_config.blast_share
    assert low - 0.002 <= shares.min() < low + 0.1
    assert high - 0.1 < shares.max() <= high + 0.002


def test_bag_of_nothing_but_blasts(simulated, clusters, fit_config):
    bags, _ = simulated(clusters, 5, replace(fit_config, blast_share=(1.0, 1.0)))
    np.testing.assert_array_equal(bags.proportions[bags.abnormal == 1, 1], 1)
