from dataclasses import replace

import numpy as np
import pytest

from app.pipeline.diagnose import diagnose
from app.pipeline.manifest import ImageLevel
from training.data import DataError
from training.image_level import blast_like, fit_image_level, simulate_bags


@pytest.fixture(scope="module")
def clusters(cells):
    """A Q that knows blasts: cluster 1; what is on the third tile: cluster 2."""
    return np.where(blast_like(cells), 1, np.where(cells.tile_index == 2, 2, 0))


@pytest.fixture(scope="module")
def fit_config(smoke):
    return smoke.fit


def one_tile(cells):
    own = cells.tile_index == 0
    return replace(
        cells,
        crops=cells.crops[own],
        tile_index=cells.tile_index[own],
        areas_px=cells.areas_px[own],
        tiles=cells.tiles[:1],
        stain_matrices=cells.stain_matrices[:1],
    )


def test_blasts_are_the_paler_half_of_the_largest_cells(cells):
    crops = np.full((10, 32, 32, 3), 255, np.uint8)
    greys = [0, 249, 10, 20, 30, 40, 50, 100, 150, 200]
    for crop, grey in zip(crops, greys, strict=True):
        crop[10:20, 10:20] = grey
    ten = replace(cells, crops=crops, areas_px=np.arange(1, 11), tile_index=np.zeros(10, int))
    assert np.flatnonzero(blast_like(ten)).tolist() == [8, 9]


def test_bags_alternate_and_go_through_the_tiles(cells, clusters, fit_config):
    bags = simulate_bags(cells, clusters, 5, fit_config)
    assert bags.proportions.shape == (40, 5)
    assert bags.abnormal.tolist() == [0, 1] * 20
    assert bags.tiles[:8].tolist() == [0, 0, 1, 1, 2, 2, 0, 0]
    np.testing.assert_allclose(bags.proportions.sum(axis=1), 1)
    counts = bags.proportions * fit_config.cells_per_bag
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-9)


def test_same_seed_gives_the_same_bags(cells, clusters, fit_config):
    first, again, other = (
        simulate_bags(cells, clusters, 5, replace(fit_config, seed=seed)).proportions for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_normal_bags_hold_cells_of_their_own_tile_only(cells, fit_config):
    bags = simulate_bags(cells, cells.tile_index, 3, fit_config)
    normal = bags.abnormal == 0
    np.testing.assert_array_equal(bags.proportions[normal], np.eye(3)[bags.tiles[normal]])


def test_share_of_blasts_in_abnormal_bags_is_within_its_range(cells, clusters, fit_config):
    bags = simulate_bags(cells, clusters, 5, replace(fit_config, bags_per_class=200, cells_per_bag=400))
    # The third tile has no blasts of its own: its share is just what was put in.
    shares = bags.proportions[(bags.abnormal == 1) & (bags.tiles == 2), 1]
    low, high = fit_config.blast_share
    assert low - 0.002 <= shares.min() < low + 0.1
    assert high - 0.1 < shares.max() <= high + 0.002


def test_bag_of_nothing_but_blasts(cells, clusters, fit_config):
    bags = simulate_bags(cells, clusters, 5, replace(fit_config, blast_share=(1.0, 1.0)))
    np.testing.assert_array_equal(bags.proportions[bags.abnormal == 1, 1], 1)


def test_models_tell_simulated_bags_apart(cells, fit_config):
    # Healthy cells of every tile are in cluster 0 here, so that a tile left out is like the others.
    clusters = blast_like(cells).astype(np.int64)
    result = fit_image_level(cells, clusters, 5, replace(fit_config, blast_share=(0.6, 0.8)))
    model = ImageLevel.model_validate(result["model"])
    assert result["metrics"]["f1"] > 0.9
    assert result["metrics"]["training_tiles"] == 3
    assert model.min_cells == fit_config.min_cells
    assert "imulated" in model.label_basis
    assert max(model.svm.weights) == model.svm.weights[1]
    assert set(model.kmeans.labels) == {"normal", "abnormal"}
    full = diagnose(np.array([0.1, 0.9, 0, 0, 0]), 300, model)
    none = diagnose(np.array([1.0, 0, 0, 0, 0]), 300, model)
    assert (full.value, full.kmeans) == ("abnormal", "abnormal")
    assert (none.value, none.kmeans) == ("normal", "normal")


def test_fit_is_the_same_again(cells, clusters, fit_config):
    assert fit_image_level(cells, clusters, 5, fit_config) == fit_image_level(cells, clusters, 5, fit_config)


def test_collapsed_q_still_gives_a_model(cells, fit_config):
    result = fit_image_level(cells, np.zeros(len(cells), np.int64), 5, fit_config)
    ImageLevel.model_validate(result["model"])


def test_one_tile_is_too_few_and_the_error_says_so(cells, fit_config):
    """Figures of tiles left out of the fit need two of them."""
    single = one_tile(cells)
    with pytest.raises(DataError, match="tile"):
        fit_image_level(single, np.arange(len(single)) % 5, 5, fit_config)
