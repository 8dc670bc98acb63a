"""Clusters by company: who is beside whom, what clusters tell of each other, and what the head learns from it."""

import math

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score

from training.representation.company import (
    SMALLEST_TILE,
    company_gain,
    gain_of,
    learn_head,
    neighbours_of,
    tiles_of,
    told,
)

ROWS, COLUMNS, TILES = 10, 20, 4


def in_a_row(*xs):
    return np.array([[x, 0.0] for x in xs])


def test_neighbours_are_the_nearest_cells_of_the_same_tile():
    """The cells of the second tile lie nearer, but in another picture."""
    centroids = in_a_row(0, 1, 3, 7, 0.1, 1.1, 3.1, 7.1)
    tiles = np.array([5, 5, 5, 5, 2, 2, 2, 2])
    found = neighbours_of(centroids, tiles, n=2)
    assert found.dtype == np.int64
    assert found.tolist() == [[1, 2], [0, 2], [1, 0], [2, 1], [5, 6], [4, 6], [5, 4], [6, 5]]


def test_neighbours_of_many_cells_are_those_at_the_smallest_distances():
    centroids, tiles = np.random.default_rng(0).uniform(0, 500, (60, 2)), np.arange(60) % 2
    distances = np.linalg.norm(centroids[:, None] - centroids[None], axis=2)
    distances[tiles[:, None] != tiles[None]] = np.inf
    np.fill_diagonal(distances, np.inf)
    assert neighbours_of(centroids, tiles, n=16).tolist() == np.argsort(distances, axis=1)[:, :16].tolist()


def test_few_neighbours_are_repeated_in_turn_and_a_lone_cell_is_its_own():
    found = neighbours_of(in_a_row(0, 1, 3, 0), np.array([0, 0, 0, 1]), n=5)
    assert found.tolist() == [[1, 2, 1, 2, 1], [0, 2, 0, 2, 0], [1, 0, 1, 0, 1], [3, 3, 3, 3, 3]]


def test_no_cell_is_its_own_neighbour_where_many_lie_at_one_place():
    found = neighbours_of(np.zeros((40, 2)), np.zeros(40, np.int64))
    assert found.shape == (40, 8)
    assert not (found == np.arange(40)[:, None]).any()
    assert all(len(set(row)) == 8 for row in found.tolist())


def test_small_tiles_do_not_teach_unless_all_are_small():
    sizes = (SMALLEST_TILE, SMALLEST_TILE - 1, SMALLEST_TILE + 1)
    tiles = np.repeat([9, 4, 1], sizes)
    large = tiles_of(tiles)
    assert [members.tolist() for members in large] == [[*range(40)], [*range(79, 120)]]
    assert [members.tolist() for members in tiles_of(np.repeat([3, 2], 5))] == [[*range(10)]]


def one_hot(clusters, k):
    return torch.eye(k)[torch.tensor(clusters)]


@pytest.mark.parametrize("k", [2, 5])
def test_clusters_that_always_agree_tell_log_k(k):
    sure = one_hot([*range(k)] * 6, k)
    assert told(sure, sure).item() == pytest.approx(math.log(k), abs=1e-4)


def test_clusters_that_know_nothing_of_each_other_tell_nothing():
    one, other = one_hot([0, 0, 1, 1], 2), one_hot([0, 1, 0, 1], 2)
    assert told(one, other).item() == pytest.approx(0, abs=1e-6)
    unsure = torch.tensor([[0.2, 0.3, 0.5]]).repeat(6, 1)
    assert told(unsure, unsure).item() == pytest.approx(0, abs=1e-6)


def test_one_cluster_for_all_cells_tells_nothing():
    alone = one_hot([1] * 8, 3)
    assert told(alone, alone).item() == pytest.approx(0, abs=1e-4)


def test_what_is_told_by_two_clusters_that_mostly_agree():
    """Of ten pairs, four are both of cluster 0, four both of cluster 1, and two mixed, in either order."""
    one = one_hot([0] * 4 + [1] * 4 + [0, 1], 2)
    other = one_hot([0] * 4 + [1] * 4 + [1, 0], 2)
    # Σ p log(p / (½ · ½)) = 2 · 0.4 · log 1.6 + 2 · 0.1 · log 0.4
    assert told(one, other).item() == pytest.approx(0.8 * math.log(1.6) + 0.2 * math.log(0.4), abs=1e-5)


def test_it_does_not_matter_which_of_two_cells_comes_first():
    one, other = torch.rand(2, 30, 4, generator=torch.Generator().manual_seed(0)).softmax(dim=2)
    assert told(one, other).item() == pytest.approx(told(other, one).item(), abs=1e-7)
    assert told(one, other) > 0


def test_another_view_weighs_a_tenth_of_a_neighbour():
    sure = one_hot([0, 1] * 4, 2)
    chance = one_hot([0, 0, 1, 1] * 2, 2)
    assert gain_of(sure, sure, chance, 0.1).item() == pytest.approx(math.log(2), abs=1e-4)
    assert gain_of(sure, chance, sure, 0.1).item() == pytest.approx(0.1 * math.log(2), abs=1e-4)


def test_what_all_cells_of_a_tile_share_tells_nothing():
    """Clusters that name the tile tell log 2 over all cells, and nothing within a tile."""
    by_tile = one_hot([0] * 10 + [1] * 30, 2)
    cells = [np.arange(10), np.arange(10, 40)]
    assert told(by_tile, by_tile) > 0.5
    gain = company_gain(lambda index: (by_tile[index],) * 3, cells, 0.1)
    assert gain.item() == pytest.approx(0, abs=1e-4)


def test_tiles_count_by_their_cells():
    """On the small tile clusters tell log 2 of neighbours and views, on the one three times as large nothing."""
    clusters = one_hot([0, 1] * 5 + [0] * 30, 2)
    gain = company_gain(lambda index: (clusters[index],) * 3, [np.arange(10), np.arange(10, 40)], 0.1)
    assert gain.item() == pytest.approx(1.1 * math.log(2) / 4, abs=1e-4)


def drawn(other="own", seed=0, tiles=TILES, rows=ROWS):
    """Return views, tiles, neighbours and kinds: on every tile, one kind of cells left and another right.

    What tells the kinds is in column 0. A stronger feature, in column 1, has nothing to do with company: it is each
    cell's own, or that of its tile, as stain is. Column 2 is the same in all cells, and column 3 in the first view.
    """
    random = np.random.default_rng(seed)
    places = np.array([[x, y] for y in range(rows) for x in range(COLUMNS)], float)
    n = tiles * len(places)
    kinds = np.tile(places[:, 0] >= COLUMNS / 2, tiles).astype(int)
    features = np.zeros((4, n, 4), np.float32)
    features[..., 0] = 2 * kinds - 1
    features[..., 1] = (
        random.normal(0, 3, n) if other == "own" else np.repeat(np.tile([-3, 3], tiles // 2), len(places))
    )
    features[..., :2] += random.normal(0, 0.2, (n, 2)).astype(np.float32)
    features[..., :2] += random.normal(0, 0.05, (4, n, 2)).astype(np.float32)
    features[..., 2] = 5
    features[1:, :, 3] = random.random((3, n)).astype(np.float32)
    index = np.repeat(np.arange(tiles), len(places))
    return features, index, neighbours_of(np.tile(places, (tiles, 1)), index), kinds


def clusters_of(head, features):
    with torch.no_grad():
        return head(torch.from_numpy(features)).argmax(dim=1).numpy()


@pytest.fixture(scope="module", params=[("own", 5), ("of the tile", 2)])
def learned(request):
    other, k = request.param
    views, tiles, neighbours, kinds = drawn(other)
    return learn_head(views, tiles, neighbours, k, seed=0, view_weight=0.1), views, kinds, k


def test_head_finds_the_kinds_that_keep_company_beside_a_stronger_feature(learned):
    """k-means alone, which the head begins with, parts the cells by the stronger feature."""
    head, views, kinds, k = learned
    assert not head.training
    by_look = KMeans(k, n_init=10, random_state=0).fit_predict(views.mean(axis=0))
    assert normalized_mutual_info_score(by_look, kinds) < 0.3
    assert normalized_mutual_info_score(clusters_of(head, views[0]), kinds) > 0.9


def test_features_that_do_not_vary_are_no_reason_for_infinite_weights(learned):
    head, views, kinds, _ = learned
    assert all(p.isfinite().all() and p.abs().max() < 100 for p in head.parameters())
    # In the other views, a feature varies that is the same for all cells in the first one.
    assert normalized_mutual_info_score(clusters_of(head, views[1]), kinds) > 0.9


@pytest.fixture(scope="module")
def few():
    """Cells on tiles of 40, those of half a tile of a third kind."""
    views, tiles, neighbours, _ = drawn(tiles=4, rows=2)
    views[:, 140:, 0] += 4
    return views, tiles, neighbours


def same(one, other):
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def test_same_seed_gives_the_same_head_however_tiles_are_numbered(few):
    views, tiles, neighbours = few
    head = learn_head(views, tiles, neighbours, 3, seed=1, view_weight=0.1)
    assert same(head, learn_head(views, tiles, neighbours, 3, seed=1, view_weight=0.1))
    assert same(head, learn_head(views, np.array([70, 4, 22, 5])[tiles], neighbours, 3, seed=1, view_weight=0.1))
    assert not same(head, learn_head(views, tiles, neighbours, 3, seed=2, view_weight=0.1))


def told_by(head, views, tiles, neighbours):
    """What clusters tell of each neighbour within tiles, without chance."""
    with torch.no_grad():
        one = torch.softmax(head(torch.from_numpy(views[0])), dim=1)
    gains = [
        told(one[tiles == tile].repeat(neighbours.shape[1], 1), one[neighbours[tiles == tile].T.ravel()])
        for tile in np.unique(tiles)
    ]
    return float(sum(gains))


def test_the_best_of_several_random_beginnings_is_kept(few):
    views, tiles, neighbours = few
    several = learn_head(views, tiles, neighbours, 3, seed=1, view_weight=0.1, random_starts=3)
    assert same(several, learn_head(views, tiles, neighbours, 3, seed=1, view_weight=0.1, random_starts=3))
    alone = learn_head(views, tiles, neighbours, 3, seed=1, view_weight=0.1, random_starts=1)
    assert told_by(several, views, tiles, neighbours) > told_by(alone, views, tiles, neighbours) - 0.01


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clusters_are_numbered_from_the_largest_to_the_smallest(few, seed):
    views, tiles, neighbours = few
    counts = np.bincount(clusters_of(learn_head(views, tiles, neighbours, 3, seed, 0.1), views[0]), minlength=3)
    assert counts.tolist() == sorted(counts.tolist(), reverse=True)


def test_cells_on_small_tiles_alone_are_learned_from():
    views, tiles, neighbours, kinds = drawn(tiles=6, rows=1)
    assert np.bincount(tiles).max() < SMALLEST_TILE
    views[..., 1] /= 10
    head = learn_head(views, tiles, neighbours, 2, seed=0, view_weight=0.1)
    assert normalized_mutual_info_score(clusters_of(head, views[0]), kinds) > 0.9
