import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.batch.space.neighbours import MIN_CELLS, nearest_um, pair_summaries
from tests.batch.cells import cells_at, mixed_cells

NONE = np.nan


def summaries(cells, um_per_px=1.0, n_clusters=2):
    found = pair_summaries(cells, nearest_um(cells, um_per_px, n_clusters), um_per_px, n_clusters)
    assert [(pair.cluster, pair.other) for pair in found] == [
        (i, j) for i in range(n_clusters) for j in range(n_clusters)
    ]
    return {(pair.cluster, pair.other): pair for pair in found}


def test_distances_are_those_to_the_nearest_other_cell():
    # A right triangle of 3, 4, 5: two cells of cluster 0 and one of cluster 1; nobody is of cluster 2.
    cells = cells_at([(0, 0), (3, 0), (3, 4)], [0, 0, 1], n_clusters=3)
    np.testing.assert_allclose(nearest_um(cells, 0.5, 3), [[1.5, 2.5, NONE], [1.5, 2.0, NONE], [2.0, NONE, NONE]])


def test_outliers_neither_look_nor_are_found():
    cells = cells_at([(0, 0), (1, 0), (9, 0)], [0, 0, 0], [False, True, False])
    np.testing.assert_allclose(nearest_um(cells, 1.0, 1), [[9], [NONE], [9]])


def test_cells_at_the_same_place_are_at_distance_zero():
    np.testing.assert_array_equal(nearest_um(cells_at([(5, 5), (5, 5)], [0, 0]), 1.0, 1), [[0], [0]])


@pytest.mark.parametrize("outlier", [[], [True, True]])
def test_without_counted_cells_there_are_no_distances(outlier):
    cells = cells_at(np.zeros((len(outlier), 2)), [0] * len(outlier), outlier)
    assert np.isnan(nearest_um(cells, 1.0, 2)).all()
    assert all(pair.median_um is None and pair.ratio is None for pair in summaries(cells).values())


@settings(deadline=None, max_examples=25)
@given(turn=st.floats(0, 6.3), shift=st.floats(-1e4, 1e4), um_per_px=st.floats(0.1, 4), seed=st.integers(0, 99))
def test_distances_do_not_depend_on_where_the_slide_lies(turn, shift, um_per_px, seed):
    cells = mixed_cells(60, seed=seed)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = cells_at(cells.centroids @ rotation.T + shift, cells.clusters)
    expected = um_per_px * nearest_um(cells, 1.0, 5)
    np.testing.assert_allclose(nearest_um(moved, um_per_px, 5), expected, rtol=1e-4)


def test_renaming_clusters_renames_columns():
    cells, order = mixed_cells(80), np.array([3, 0, 4, 2, 1])
    summary_of = cells_at(cells.centroids, order[cells.clusters])
    np.testing.assert_array_equal(nearest_um(summary_of, 1.0, 5)[:, order], nearest_um(cells, 1.0, 5))


def test_medians_are_of_the_cells_of_the_row_cluster():
    cells = cells_at([(0, 0), (0, 1), (0, 10), (0, 13), (0, 63)], [0, 1, 1, 0, 0])
    found = summaries(cells, um_per_px=2.0)
    assert found[0, 1].median_um == 6.0  # of 1, 3 and 53 px
    assert found[1, 0].median_um == 4.0  # of 1 and 3 px
    assert found[0, 0].median_um == 26.0  # of 13, 13 and 50 px
    assert (found[0, 1].cells, found[1, 0].cells) == (3, 2)


def test_clusters_dealt_out_at_random_are_as_near_as_by_chance():
    ratios = [pair.ratio for pair in summaries(mixed_cells(20_000, 0.25), 0.25, 5).values()]
    np.testing.assert_allclose(ratios, 1, atol=0.04)


def test_ratio_is_over_the_mean_distance_of_the_same_places_dealt_out_anew():
    cells = mixed_cells(300, seed=3)
    cells = cells_at(cells.centroids, np.arange(300) < MIN_CELLS)
    nearest, found = nearest_um(cells, 1.0, 2), summaries(cells)
    rng = np.random.default_rng(9)
    dealt = [cells_at(cells.centroids, rng.permutation(cells.clusters)) for _ in range(1000)]
    for cluster, other in found:
        expected = np.mean([nearest_um(one, 1.0, 2)[one.clusters == cluster, other].mean() for one in dealt])
        observed = nearest[cells.clusters == cluster, other].mean()
        assert found[cluster, other].ratio == pytest.approx(observed / expected, rel=0.04)


def test_clusters_apart_are_farther_and_those_mingled_in_pairs_nearer_than_by_chance():
    rng = np.random.default_rng(0)
    places, clusters = rng.uniform(0, 1000, (600, 2)), np.arange(600) % 2
    apart = summaries(cells_at(places + [[0, 0], [3000, 0]] * 300, clusters))
    assert apart[0, 1].ratio > 2
    assert apart[0, 0].ratio < 1
    pairs = summaries(cells_at(np.repeat(places[:300], 2, axis=0) + [[0, 0], [2, 0]] * 300, clusters))
    assert pairs[0, 1].ratio < 0.5
    assert pairs[0, 0].ratio > 1


def test_ratio_needs_enough_cells_of_both():
    few = summaries(cells_at(np.random.default_rng(0).uniform(0, 99, (40, 2)), np.arange(40) < MIN_CELLS - 1))
    assert few[0, 0].ratio is not None
    assert few[0, 1].ratio is few[1, 0].ratio is few[1, 1].ratio is None
    assert few[0, 1].median_um is not None


def test_the_same_cells_have_the_same_summaries():
    cells = mixed_cells(500)
    assert summaries(cells, n_clusters=5) == summaries(cells, n_clusters=5)
