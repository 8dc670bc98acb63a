import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from scipy.stats import binom

from app.pipeline.proportions import summarise


def one_hot(clusters, k=5):
    return np.eye(k, dtype=np.float32)[np.asarray(clusters, int)]


def of(probabilities, outlier=None):
    return summarise(probabilities, np.zeros(len(probabilities), bool) if outlier is None else np.asarray(outlier))


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
def test_interval_of_certain_cells_is_the_exact_one_at_the_level_of_all_clusters_together(counts):
    """At its ends, such a count or one farther away has a probability of .05 / 5 / 2 (Clopper & Pearson 1934)."""
    n = sum(counts)
    for (low, high), count in zip(of(one_hot(np.repeat(range(5), counts))).intervals, counts, strict=True):
        assert (low == 0) == (count == 0)
        assert (high == 1) == (count == n)
        if low > 0:
            assert binom.sf(count - 1, n, low) == pytest.approx(0.005, rel=1e-6)
        if high < 1:
            assert binom.cdf(count, n, high) == pytest.approx(0.005, rel=1e-6)


def test_two_clusters_make_one_statement():
    low, high = of(one_hot([0] * 81 + [1] * 182, k=2)).intervals[0]
    # 95% Clopper-Pearson interval of 81 in 263, Newcombe (1998), table I.
    assert (low, high) == pytest.approx((0.2527, 0.3676), abs=5e-5)


def test_interval_reaches_from_what_is_sure_to_what_is_possible():
    """Of 400 cells Q says .6 for cluster 0 and .4 for cluster 1: 240 of them are sure, and 160 may be in 1."""
    found = of(np.tile(np.array([0.6, 0.4, 0, 0, 0], np.float32), (400, 1)))
    certain = of(one_hot([0] * 240 + [1] * 160)).intervals
    assert found.values.tolist() == [1, 0, 0, 0, 0]
    assert found.intervals[0].tolist() == pytest.approx([certain[0, 0], 1], abs=1e-6)
    assert found.intervals[1].tolist() == pytest.approx([0, certain[1, 1]], abs=1e-6)
    assert found.intervals[2].tolist() == certain[2].tolist()


def test_doubt_makes_intervals_wider():
    certain, doubtful = of(one_hot([0, 1] * 50, k=2)), of(np.full((100, 2), 0.5, np.float32))
    assert np.diff(doubtful.intervals).min() > 0.5 > 0.21 > np.diff(certain.intervals).max()


@st.composite
def probabilities(draw):
    """Of 1 to 40 cells in 2 to 12 clusters, from certain to quite unsure."""
    n, k, seed = draw(st.integers(1, 40)), draw(st.integers(2, 12)), draw(st.integers(0, 2**32 - 1))
    sharpness = draw(st.sampled_from([0.02, 0.3, 1.0, 20.0]))
    return np.random.default_rng(seed).dirichlet(np.full(k, sharpness), n)


@settings(max_examples=200)
@given(probabilities(), st.data())
def test_interval_holds_count_and_mean_probability_and_narrows_as_a_cell_becomes_surer(probs, data):
    found = of(probs)
    low, high = found.intervals.T
    assert found.values.sum() == pytest.approx(1, abs=1e-9)
    for inside in (found.values, probs.mean(axis=0)):
        assert (low <= inside + 1e-9).all()
        assert (inside <= high + 1e-9).all()
    cell, share = data.draw(st.integers(0, len(probs) - 1)), data.draw(st.floats(0, 1))
    surer = probs.copy()
    surer[cell] = (1 - share) * surer[cell] + share * np.eye(probs.shape[1])[probs[cell].argmax()]
    narrower = of(surer).intervals
    assert (narrower[:, 0] >= low - 1e-9).all()
    assert (narrower[:, 1] <= high + 1e-9).all()


POPULATIONS = {
    "certain": [0.006, 0.003, 0.001],
    "some doubt": [0.06, 0.03, 0.01],
    "much doubt": [0.6, 0.3, 0.1],
    "five clusters": [0.3, 0.25, 0.2, 0.15, 0.1],
}


def coverage(pool, n, sharpening=1.0, draws=400):
    """Share of tiles whose intervals hold the truth; Q says softmax(sharpening · log p) where a cell is in k by p_k."""
    random = np.random.default_rng(0)
    said = np.exp(log_softmax(sharpening * np.log(np.maximum(pool, 1e-30)), axis=1))
    truth = pool.mean(axis=0)
    held = 0
    for _ in range(draws):
        low, high = of(said[random.integers(len(pool), size=n)]).intervals.T
        held += bool(((low <= truth) & (truth <= high)).all())
    return held / draws


@pytest.mark.parametrize("n", [1, 20, 100, 500])
@pytest.mark.parametrize("doubt", POPULATIONS)
def test_intervals_together_hold_the_truth_if_the_probabilities_are_right(doubt, n):
    pool = np.random.default_rng(1).dirichlet(POPULATIONS[doubt], 20_000)
    assert coverage(pool, n) >= 0.95


def test_intervals_hold_the_share_of_a_rare_cluster():
    """One cell in 600: the score interval of 100 cells holds this share in 84% of tiles."""
    pool = np.eye(2)[(np.arange(60_000) % 600 == 0).astype(int)]
    assert coverage(pool, 100) >= 0.95


@pytest.mark.parametrize(("sharpening", "holds"), [(1.0, True), (0.5, True), (2.0, False)])
def test_coverage_is_lost_where_q_is_too_sure_of_itself(sharpening, holds):
    """One cell in four has .6 for cluster 0 and .4 for cluster 1: a Q that says .69 and .31 hides where they belong."""
    pool = np.tile([[0.6, 0.4], [0.6, 0.4], [0.6, 0.4], [1, 0]], (1000, 1))
    assert (coverage(pool, 1000, sharpening) >= 0.95) == holds


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
