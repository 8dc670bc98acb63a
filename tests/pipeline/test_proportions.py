import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.pipeline.proportions import simultaneous_intervals, summarise

Z_5 = 2.5758293035489004
"""99.5% point of the standard normal: 95% over five clusters, by Bonferroni."""


def one_hot(clusters, k=5):
    return np.eye(k, dtype=np.float32)[np.asarray(clusters, int)]


def of(probabilities, outlier=None):
    return summarise(probabilities, np.zeros(len(probabilities), bool) if outlier is None else np.asarray(outlier))


def wilson(p, n, z):
    """Wilson's score interval (1927), written as the roots of its quadratic."""
    a, b, c = 1 + z**2 / n, -(2 * p + z**2 / n), p**2
    root = np.sqrt(b**2 - 4 * a * c)
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def test_proportion_is_the_share_of_cells_in_a_cluster():
    found = of(one_hot([0, 0, 3, 4, 0, 3, 0, 0]))
    assert found.clusters.tolist() == [0, 0, 3, 4, 0, 3, 0, 0]
    assert found.counts.tolist() == [5, 0, 0, 2, 1]
    assert found.values.tolist() == [5 / 8, 0, 0, 2 / 8, 1 / 8]


def test_cell_belongs_to_its_most_probable_cluster():
    assert of(np.array([[0.3, 0.31, 0.39], [0.5, 0.2, 0.3]], np.float32)).clusters.tolist() == [2, 0]


def test_outliers_keep_their_cluster_and_are_not_counted():
    found = of(one_hot([0, 0, 3, 4]), [False, True, False, True])
    assert found.clusters.tolist() == [0, 0, 3, 4]
    assert found.counts.tolist() == [1, 0, 0, 1, 0]
    assert found.values.tolist() == [0.5, 0, 0, 0.5, 0]
    assert found.n_counted == 2
    np.testing.assert_array_equal(found.intervals, of(one_hot([0, 3])).intervals)


@pytest.mark.parametrize("n", [0, 3])
def test_tile_without_a_cell_to_count_has_no_proportions(n):
    found = of(one_hot([1] * n), np.ones(n, bool))
    assert found.counts.tolist() == [0] * 5
    assert found.clusters.shape == (n,)
    assert found.values is None
    assert found.intervals is None


@pytest.mark.parametrize("counts", [(7, 3, 0, 0, 0), (100, 200, 50, 0, 150), (1, 0, 0, 0, 0)])
def test_interval_of_certain_cells_is_wilsons_at_the_level_of_all_clusters_together(counts):
    n = sum(counts)
    found = simultaneous_intervals(one_hot(np.repeat(range(5), counts)).astype(float))
    for (low, high), count in zip(found, counts, strict=True):
        assert (low, high) == pytest.approx(wilson(count / n, n, Z_5), abs=1e-9)


def test_two_clusters_make_one_statement():
    low, high = simultaneous_intervals(one_hot([0] * 81 + [1] * 182, k=2).astype(float))[0]
    # 95% Wilson score interval of 81 in 263, Newcombe (1998), table I.
    assert (low, high) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_interval_lies_round_what_the_probabilities_add_up_to():
    """Of every cell Q says .6 for cluster 0 and .4 for cluster 1: the count says 1, the probabilities .6."""
    probabilities = np.tile(np.array([0.6, 0.4, 0, 0, 0], np.float32), (400, 1))
    inner = simultaneous_intervals(probabilities.astype(float))
    assert inner[0, 0] < 0.6 < inner[0, 1] < 0.7
    found = of(probabilities)
    assert found.values.tolist() == [1, 0, 0, 0, 0]
    assert found.intervals[0].tolist() == [inner[0, 0], 1]
    assert found.intervals[1].tolist() == [0, inner[1, 1]]


@pytest.mark.parametrize("n", [50, 500])
@pytest.mark.parametrize("sharpness", [1.0, 3.0])
def test_intervals_together_hold_the_truth_as_often_as_they_say(n, sharpness):
    random = np.random.default_rng(0)
    pool = random.dirichlet([0.6 / sharpness, 0.3 / sharpness, 0.1 / sharpness], 20_000)
    truth = pool.mean(axis=0)
    held = 0
    for _ in range(1000):
        low, high = simultaneous_intervals(pool[random.integers(len(pool), size=n)]).T
        held += bool(((low <= truth) & (truth <= high)).all())
    # Three standard errors of 1,000 draws are .02.
    assert 0.92 <= held / 1000 <= 0.985


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_proportions_sum_to_one_lie_in_their_intervals_and_ignore_the_order_of_cells(clusters, random):
    found = of(one_hot(clusters))
    assert abs(found.values.sum() - 1) < 1e-12
    assert found.counts.sum() == len(clusters)
    low, high = found.intervals.T
    assert (low >= 0).all()
    assert (high <= 1).all()
    assert (low <= found.values).all()
    assert (found.values <= high).all()
    shuffled = list(clusters)
    random.shuffle(shuffled)
    np.testing.assert_array_equal(of(one_hot(shuffled)).values, found.values)


@settings(max_examples=30, derandomize=True, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.permutations(range(5)))
def test_renaming_clusters_renames_their_proportions(clusters, names):
    renamed = of(one_hot([names[cluster] for cluster in clusters]))
    np.testing.assert_array_equal(renamed.values[list(names)], of(one_hot(clusters)).values)
