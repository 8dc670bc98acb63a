import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.pipeline.proportions import summarise, wilson


def one_hot(clusters, k=5):
    return np.eye(k, dtype=np.float32)[np.asarray(clusters)]


def test_proportion_is_the_share_of_cells_in_a_cluster():
    found = summarise(one_hot([0, 0, 3, 4, 0, 3, 0, 0]))
    assert found.clusters.tolist() == [0, 0, 3, 4, 0, 3, 0, 0]
    assert found.counts.tolist() == [5, 0, 0, 2, 1]
    assert found.values.tolist() == [5 / 8, 0, 0, 2 / 8, 1 / 8]


def test_cell_belongs_to_its_most_probable_cluster():
    assert summarise(np.array([[0.3, 0.31, 0.39], [0.5, 0.2, 0.3]], np.float32)).clusters.tolist() == [2, 0]


def test_tile_without_cells_has_no_proportions():
    found = summarise(np.zeros((0, 5), np.float32))
    assert found.counts.tolist() == [0] * 5
    assert found.clusters.shape == (0,)
    assert found.values is None
    assert found.intervals is None


# 95% Wilson score intervals without continuity correction: the first three by hand, since at 0 and n the far bound is
# z² / (n + z²) from its end; the others from Newcombe (1998), table I.
@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (0, 1, 0.0, 0.7935),
    ],
)
def test_wilson_interval_has_the_published_bounds(count, total, low, high):
    np.testing.assert_allclose(wilson(np.array([count]), total)[0], [low, high], atol=5e-5)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_proportions_sum_to_one_lie_in_their_intervals_and_ignore_the_order_of_cells(clusters, random):
    found = summarise(one_hot(clusters))
    assert abs(found.values.sum() - 1) < 1e-12
    assert found.counts.sum() == len(clusters)
    low, high = found.intervals.T
    assert (low >= 0).all()
    assert (high <= 1).all()
    # At 0 and n the interval ends at the proportion itself, but for rounding.
    assert (low <= found.values + 1e-12).all()
    assert (found.values <= high + 1e-12).all()
    shuffled = list(clusters)
    random.shuffle(shuffled)
    np.testing.assert_array_equal(summarise(one_hot(shuffled)).values, found.values)


@settings(max_examples=30, derandomize=True, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.permutations(range(5)))
def test_renaming_clusters_renames_their_proportions(clusters, names):
    renamed = summarise(one_hot([names[cluster] for cluster in clusters]))
    np.testing.assert_array_equal(renamed.values[list(names)], summarise(one_hot(clusters)).values)
