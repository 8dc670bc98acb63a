import numpy as np
import pytest

from training.metrics.clusters import nmi_tile, score_clusters, within_tiles

# Cluster 0: 3 × a, 1 × b. Cluster 1: 2 × b, 2 × c, so it stands for b, the first of the two.
TYPES = np.array([0, 0, 0, 1, 1, 1, 2, 2])
CLUSTERS = np.array([0, 0, 0, 0, 1, 1, 1, 1])


def test_scores_of_eight_cells_are_those_worked_out_by_hand():
    scores = score_clusters(TYPES, CLUSTERS)
    assert scores["purity"] == pytest.approx((3 + 2) / 8)
    # Cluster 0: -(3/4 log2 3/4 + 1/4 log2 1/4) = 2 - 3/4 log2 3; cluster 1: one bit.
    assert scores["class_entropy"] == pytest.approx(((2 - 0.75 * np.log2(3)) + 1) / 2)
    assert scores["printed_entropy"] == pytest.approx(np.log(2))
    # a: P 3/4, R 1, F 6/7, support 3. b: P 2/4, R 2/3, F 4/7, support 3. c: no cluster stands for it.
    assert scores["f1"] == pytest.approx((3 * 6 / 7 + 3 * 4 / 7) / 8)
    # I = H(types) - H(types | clusters), over the mean of H(types) and H(clusters) = 1 bit.
    of_types = -(2 * 3 / 8 * np.log2(3 / 8) + 2 / 8 * np.log2(2 / 8))
    assert scores["nmi"] == pytest.approx((of_types - scores["class_entropy"]) / ((of_types + 1) / 2))
    # Pairs together in both: 3 + 1 + 1; in types: 3 + 3 + 1; in clusters: 6 + 6; of 28.
    expected = 7 * 12 / 28
    assert scores["ari"] == pytest.approx((5 - expected) / ((7 + 12) / 2 - expected))
    assert scores["largest_share"] == 0.5
    assert scores["used_clusters"] == 2


def test_clusters_that_are_the_types_are_perfect():
    types = np.repeat([0, 1, 2], 4)
    scores = score_clusters(types, np.array([4, 2, 0])[types])
    assert [scores[name] for name in ("purity", "f1", "nmi", "ari")] == pytest.approx([1] * 4)
    assert scores["class_entropy"] == 0
    assert scores["printed_entropy"] == pytest.approx(np.log(3))


def test_one_cluster_for_all_is_worth_the_commonest_type():
    scores = score_clusters(np.array([0, 0, 0, 1]), np.full(4, 3))
    assert scores["purity"] == 0.75
    assert scores["printed_entropy"] == 0
    assert scores["nmi"] == scores["ari"] == 0
    assert scores["f1"] == pytest.approx(0.75 * 6 / 7)
    assert scores["largest_share"] == 1


def test_names_of_clusters_do_not_matter():
    random = np.random.default_rng(0)
    types, clusters = random.integers(0, 4, 200), random.integers(0, 5, 200)
    renamed = np.array([3, 0, 4, 2, 1])[clusters]
    assert score_clusters(types, renamed) == pytest.approx(score_clusters(types, clusters))


def test_splitting_clusters_cannot_lower_purity_but_does_raise_the_printed_entropy():
    """Why the table shows NMI and ARI beside them."""
    split = CLUSTERS * 2 + np.arange(8) % 2
    before, after = score_clusters(TYPES, CLUSTERS), score_clusters(TYPES, split)
    assert after["purity"] >= before["purity"]
    assert after["class_entropy"] <= before["class_entropy"]
    assert after["printed_entropy"] > before["printed_entropy"]


@pytest.mark.parametrize("n_clusters", [0, 7])
def test_lengths_must_agree(n_clusters):
    with pytest.raises(ValueError, match=f"{n_clusters}"):
        score_clusters(TYPES, np.zeros(n_clusters, int))


def test_clusters_that_know_only_the_tile_are_worth_nothing_within_tiles():
    tiles = np.repeat([0, 1], 120)
    types = np.concatenate([np.arange(120) < 90, np.arange(120) < 30]).astype(int)
    assert score_clusters(types, tiles)["purity"] == 0.75
    assert within_tiles(types, tiles, tiles) == 0
    assert within_tiles(types, types, tiles) == 1
    assert nmi_tile(tiles, tiles) == 1
    # Of 120 cells in a tile 90, or 30, are of the first type: I = 1 bit − H(1/4); the mean of both entropies of 1 bit.
    quarter = 2 - 0.75 * np.log2(3)
    assert nmi_tile(types, tiles) == pytest.approx(1 - quarter)


def test_within_tiles_is_the_mean_over_tiles_of_more_than_a_hundred_cells_and_several_types():
    tiles = np.repeat([0, 1, 2, 3], [104, 104, 100, 200])
    types = np.arange(508) % 2
    types[tiles == 3] = 0
    # Perfect in the first tile, independent of the types in the second; neither of the others counts.
    clusters = np.where(tiles == 1, np.arange(508) // 2 % 2, types)
    assert within_tiles(types, clusters, tiles) == pytest.approx(0.5)
    assert within_tiles(types[tiles > 1], clusters[tiles > 1], tiles[tiles > 1]) is None
