"""Clusters by company: how the head of Q learns from where cells lie, without labels.

Cells of one kind lie together. So the head learns clusters that make the cluster of a cell tell most about the cluster
of a cell beside it, and much about its own cluster in another view. What a cluster tells is measured within each tile:
the stain of a slide, which all cells of a tile share, then tells nothing.

The measure, and why it needs no further term for balanced clusters, are due to Ji et al. 2019 (invariant information
clustering); that pairs are neighbours, and the measure is taken within tiles, is our own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.spatial import cKDTree
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn import functional

from app.pipeline.networks.architecture import CodeHead
from app.pipeline.types import Float32Array, Float64Array, Int64Array

NEIGHBOURS = 8
"""A cell's company: this many nearest cells of its tile."""
SMALLEST_TILE = 40
"""Tiles with fewer cells teach nothing: what clusters tell of each other cannot be measured on so few."""
STARTS = 10
"""Number of starts of the k-means that the head begins with; the best is kept, so that the seed hardly matters."""
FIRST_STEPS, FIRST_BATCH, FIRST_RATE = 150, 1024, 3e-3
"""Steps, cells in a step and learning rate, in which the head learns the clusters that it begins with."""
STEPS, TILES_PER_STEP, RATE = 1000, 8, 3e-3
"""Steps, tiles in a step and learning rate, in which it then learns from company."""
JUDGED = 4
"""To choose among random beginnings, what a head tells is measured as often, each time in views that are drawn anew."""
WEIGHT_DECAY = 1e-3
SMALLEST_DEVIATION = 1e-6
"""A feature with a smaller standard deviation counts as the same in all cells."""
SMALLEST = 1e-7
"""Added to no probability, but none counts as less, so that its logarithm is finite."""


def neighbours_of(centroids: Float64Array, tile_index: Int64Array, n: int = NEIGHBOURS) -> Int64Array:
    """Return the nearest other cells of the same tile.

    Args:
        centroids: (N, 2) float64, x and y in px of the tile.
        tile_index: (N,) int64, the tile of each cell.
        n: how many.

    Returns:
        (N, n) int64, indices of cells. If a tile holds fewer other cells, they are repeated; a cell that is alone in
        its tile is its own neighbour.
    """
    found = np.repeat(np.arange(len(tile_index))[:, None], n, axis=1)
    for tile in np.unique(tile_index):
        members = np.flatnonzero(tile_index == tile)
        if len(members) == 1:
            continue
        places = centroids[members]
        _, nearest = cKDTree(places).query(places, min(n, len(members) - 1) + 1)
        # If two cells have the same place, either may come first, so the cell itself may be in any column.
        without_self = np.array([row[row != own][: nearest.shape[1] - 1] for own, row in enumerate(nearest)])
        found[members] = members[np.resize(without_self.T, (n, len(members))).T]
    return found


def tiles_of(tile_index: Int64Array) -> list[Int64Array]:
    """Return the indices of the cells of each tile that is large enough to teach; of all cells if there is none.

    The tiles come in the order of their first cells, so that nothing depends on how they are numbered.
    """
    tiles = [np.flatnonzero(tile_index == tile) for tile in dict.fromkeys(tile_index.tolist())]
    return [members for members in tiles if len(members) >= SMALLEST_TILE] or [np.arange(len(tile_index))]


def told(one: Tensor, other: Tensor) -> Tensor:
    """Return how much the clusters of cells tell about those of their partners: the mutual information, in nats.

    Args:
        one: (B, K) probabilities of the clusters, rows sum to 1.
        other: (B, K), those of the partner of each cell.

    Returns:
        A scalar from 0 to log K.
    """
    joint = one.T @ other / len(one)
    joint = ((joint + joint.T) / 2).clamp_min(SMALLEST)
    joint = joint / joint.sum()
    each = joint.sum(dim=1).log()
    gain: Tensor = (joint * (joint.log() - each[:, None] - each[None])).sum()
    return gain


def gain_of(one: Tensor, beside: Tensor, again: Tensor, view_weight: float) -> Tensor:
    """Return what is to be made large: how much clusters tell about neighbours, and about the cell in another view.

    Args:
        one: (B, K) probabilities of the clusters of cells of one tile, rows sum to 1.
        beside: (B, K), of a neighbour of each.
        again: (B, K), of the same cells in another view.
        view_weight: weight of what they tell about the other view.
    """
    return told(one, beside) + view_weight * told(one, again)


def learn_head(
    views: Float32Array,
    tile_index: Int64Array,
    neighbours: Int64Array,
    n_clusters: int,
    seed: int,
    view_weight: float,
    first: Int64Array | None = None,
    random_starts: int = 0,
) -> CodeHead:
    """Learn the head of Q on an encoder that does not change.

    What company tells has many maxima, and from a random beginning the clusters differ from seed to seed. So the head
    begins with clusters that are known; or it begins at random several times, and the one that tells most is kept.

    Args:
        views: (V, N, F) float32, the features of each cell in V ≥ 2 views.
        tile_index: (N,) int64, the tile of each cell.
        neighbours: (N, M) int64, as `neighbours_of` returns it.
        n_clusters: K, at most N.
        seed: seed of everything random.
        view_weight: see `gain_of`.
        first: (N,) int64, the clusters that it begins with; None: those of k-means of the features.
        random_starts: number of random beginnings; 0: none, it begins with `first`.

    Returns:
        The head, in evaluation mode. Cluster 0 has most cells, and so on.
    """
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    features = torch.from_numpy(views)
    tiles = tiles_of(tile_index)
    learned = []
    for _ in range(max(1, random_starts)):
        head = _standardised(CodeHead(views.shape[2], n_clusters), views[0])
        if not random_starts:
            if first is None:
                first = KMeans(n_clusters, n_init=STARTS, random_state=seed).fit_predict(views.mean(axis=0))
            _begin_with(head, first, features, random)
        clusters = _drawn_clusters(head, features, neighbours, random)
        optimiser = torch.optim.AdamW(head.parameters(), RATE, weight_decay=WEIGHT_DECAY)
        for _ in range(STEPS):
            drawn = [tiles[i] for i in random.permutation(len(tiles))[:TILES_PER_STEP]]
            _descend(optimiser, -company_gain(clusters, drawn, view_weight))
        with torch.no_grad():
            gains = [float(company_gain(clusters, tiles, view_weight)) for _ in range(JUDGED if random_starts else 0)]
        learned.append((sum(gains), head))
    _, best = max(learned, key=lambda gain_and_head: gain_and_head[0])
    return _by_size(best.eval(), features[0])


def _begin_with(head: CodeHead, first: Int64Array, features: Tensor, random: np.random.Generator) -> None:
    """Teach a head clusters, (N,) int64, in whatever view of (V, N, F) features it sees a cell."""
    optimiser = torch.optim.AdamW(head.parameters(), FIRST_RATE, weight_decay=WEIGHT_DECAY)
    for _ in range(FIRST_STEPS):
        cells, view = random.integers(len(first), size=FIRST_BATCH), random.integers(len(features), size=FIRST_BATCH)
        _descend(
            optimiser, functional.cross_entropy(head(features[view, cells]), torch.from_numpy(first[cells]).long())
        )


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


Clusters = Callable[[Int64Array], tuple[Tensor, Tensor, Tensor]]
"""Indices of B cells → (B, K) probabilities of each cell in a view, of a neighbour, and of the cell in another view."""


def company_gain(clusters: Clusters, tiles: list[Int64Array], view_weight: float) -> Tensor:
    """Return what is to be made large: how much clusters tell about neighbours and about other views, within tiles.

    Args:
        clusters: gives the probabilities of the cells of all tiles at once.
        tiles: the indices of the cells of each tile.
        view_weight: see `gain_of`.
    """
    sizes = [len(members) for members in tiles]
    parts = [some.split(sizes) for some in clusters(np.concatenate(tiles))]
    gains = [gain_of(one, beside, again, view_weight) for one, beside, again in zip(*parts, strict=True)]
    weights = [size / sum(sizes) for size in sizes]
    return torch.stack([weight * gain for weight, gain in zip(weights, gains, strict=True)]).sum()


def _drawn_clusters(head: nn.Module, features: Tensor, neighbours: Int64Array, random: np.random.Generator) -> Clusters:
    """Return what gives the probabilities of cells, each in a view that is drawn at random."""

    def clusters(index: Int64Array) -> tuple[Tensor, Tensor, Tensor]:
        n_views, size = len(features), len(index)
        beside = neighbours[index, random.integers(neighbours.shape[1], size=size)]
        view = random.integers(n_views, size=size)
        other = (view + random.integers(1, n_views, size=size)) % n_views
        seen = torch.cat(
            [features[view, index], features[random.integers(n_views, size=size), beside], features[other, index]]
        )
        one, two, three = functional.softmax(head(seen), dim=1).chunk(3)
        return one, two, three

    return clusters


def _standardised(head: CodeHead, features: Float32Array) -> CodeHead:
    """Change the first layer of a new head so that it sees each feature with mean 0 and standard deviation 1.

    A feature that is the same in all cells is only centred: in another view it may not be the same, and would then
    outweigh all others.
    """
    first = head.hidden
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation[deviation < SMALLEST_DEVIATION] = 1
    with torch.no_grad():
        first.weight.div_(torch.from_numpy(deviation))
        first.bias.sub_(first.weight @ torch.from_numpy(mean))
    return head


def _by_size(head: CodeHead, features: Tensor) -> CodeHead:
    """Number the clusters by their numbers of cells, the largest first."""
    with torch.no_grad():
        counts = torch.bincount(head(features).argmax(dim=1), minlength=head.out_features)
        order = torch.argsort(counts, descending=True, stable=True)
        head.weight.copy_(head.weight[order])
        head.bias.copy_(head.bias[order])
    return head
