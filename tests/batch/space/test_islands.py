import numpy as np
import pytest

from app.batch.space.islands import MIN_CELLS, RADIUS_UM, island_summaries, islands
from tests.batch.cells import MARROW_PER_UM2, cells_at, mixed_cells

UM_PER_PX = 0.25


def planted(centres_um, size=24, apart_um=10.0, cluster=2, seed=0):
    """Marrow with round islands of one cluster, cells `apart_um` from each other: nothing else grows there."""
    tissue = mixed_cells(6000, seed=seed)
    grid = np.array([(i + j % 2 / 2, j * 0.866) for i in range(-9, 10) for j in range(-9, 10)]) * apart_um
    disc = grid[np.argsort((grid**2).sum(axis=1), kind="stable")[:size]]
    edge = np.linalg.norm(disc, axis=1).max() + apart_um / 2
    is_free = np.all([np.linalg.norm(tissue.centroids - at, axis=1) > edge for at in centres_um], axis=0)
    of_islands = np.concatenate([disc + at for at in centres_um])
    places = np.concatenate([tissue.centroids[is_free], of_islands])
    clusters = np.concatenate([tissue.clusters[is_free], np.full(len(of_islands), cluster)])
    return cells_at(places / UM_PER_PX, clusters), len(of_islands)


@pytest.mark.parametrize("density", [MARROW_PER_UM2, 2 * MARROW_PER_UM2, 4 * MARROW_PER_UM2])
def test_clusters_mixed_at_random_make_hardly_any_island_however_common_and_dense(density):
    numbers = islands(mixed_cells(60_000, UM_PER_PX, density=density), UM_PER_PX)
    assert numbers.max() < 2


@pytest.mark.parametrize(
    ("cluster", "size", "apart_um"), [(0, 60, 8), (1, 24, 10), (2, 24, 10), (3, 15, 10), (4, 15, 10)]
)
def test_planted_islands_are_found_and_nothing_else(cluster, size, apart_um):
    """Half of all cells are of cluster 0, a fifth of cluster 1: the more common, the more must lie together."""
    cells, n = planted([(300, 300), (900, 300), (600, 900)], size, apart_um, cluster)
    numbers = islands(cells, UM_PER_PX)
    assert set(numbers[-n:]) == {0, 1, 2}
    (found,) = (entry for entry in island_summaries(cells, numbers, 5) if entry.islands)
    assert (found.cluster, found.islands) == (cluster, 3)
    # Cells of the cluster right beside an island may belong to it.
    assert n <= found.cells <= 1.5 * n
    assert found.share == found.cells / (cells.clusters == cluster).sum()
    assert found.median_cells == np.median(np.bincount(numbers[numbers >= 0]))


def test_islands_are_numbered_by_their_topmost_cells():
    cells, n = planted([(600, 900), (900, 320), (300, 300)])
    numbers = islands(cells, UM_PER_PX)[-n:].reshape(3, -1)
    assert [set(of_one) for of_one in numbers] == [{2}, {1}, {0}]


def test_islands_of_two_clusters_side_by_side_stay_apart():
    disc = np.array([(i, j) for i in range(5) for j in range(5)]) * 8.0
    tissue = mixed_cells(3000).centroids + 200
    places = np.concatenate([disc, disc + np.array([45, 0]), tissue])
    clusters = np.concatenate([np.full(25, 3), np.full(25, 4), np.arange(3000) % 3])
    numbers = islands(cells_at(places, clusters), 1.0)
    assert numbers[:25].tolist() == [0] * 25
    assert numbers[25:50].tolist() == [1] * 25
    assert (numbers[50:] == -1).all()


def test_a_slide_of_one_cluster_alone_has_no_island():
    cells = mixed_cells(2000)
    assert (islands(cells_at(cells.centroids, np.zeros(2000)), 1.0) == -1).all()


def test_outliers_are_in_none_and_make_none():
    cells, n = planted([(300, 300)])
    outlier = np.arange(len(cells)) >= len(cells) - n
    assert (islands(cells_at(cells.centroids, cells.clusters, outlier), UM_PER_PX) == -1).all()


def test_scale_counts_in_micrometres():
    cells, n = planted([(300, 300)])
    assert (islands(cells, UM_PER_PX)[-n:] == 0).all()
    assert (islands(cells, 4 * UM_PER_PX)[-n:] == -1).all()


def test_fewer_cells_than_an_island_has_are_none():
    near = np.random.default_rng(0).uniform(0, RADIUS_UM / 2, (MIN_CELLS - 1, 2))
    far = mixed_cells(2000).centroids + 200
    cells = cells_at(np.concatenate([near, far]), [4] * len(near) + [0] * len(far))
    assert (islands(cells, 1.0) == -1).all()


def test_without_cells_there_are_no_islands():
    cells = cells_at([], [])
    numbers = islands(cells, 1.0)
    assert numbers.shape == (0,)
    (summary,) = island_summaries(cells, numbers, 1)
    assert (summary.islands, summary.cells, summary.share, summary.median_cells) == (0, 0, None, None)
