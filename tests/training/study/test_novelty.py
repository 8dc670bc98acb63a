"""What is counted for the question whether a tile is marrow."""

import numpy as np
import pytest

from app.pipeline.manifest import Outliers, TileSurprise
from training.study.protocols.novelty import CROPS_PER_TILE, _windows, is_unlike

LIMITS = Outliers(
    components=2,
    threshold=5.0,
    training_share=0.01,
    max_share=0.1,
    tile_surprise=TileSurprise(mean=-10.0, tile_margin=3.0, cell_margin=4.0, tiles=11),
)


@pytest.mark.parametrize(
    ("surprise", "expected"),
    [
        (np.full(100, -10.0), False),
        (np.full(100, 0.0), True),  # no cell is an outlier, and all are a little odd
        (np.r_[np.full(80, -14.0), np.full(20, 6.0)], True),  # a fifth of the cells are outliers
        (np.r_[np.full(95, -11.0), np.full(5, 6.0)], False),
    ],
)
def test_tile_is_unlike_by_its_outliers_or_by_the_mean_of_its_cells(surprise, expected):
    assert is_unlike(surprise.astype(np.float32), LIMITS) is expected


def test_crops_of_a_tile_hold_the_cells_of_600_px():
    centroids = np.random.default_rng(0).uniform(0, 1200, (500, 2))
    crops = list(_windows(centroids, 0))
    assert len(crops) == CROPS_PER_TILE
    for inside in crops:
        assert np.ptp(centroids[inside], axis=0).max() < 600
        assert 60 < inside.sum() < 200  # a quarter of the tile has 125
    again = list(_windows(centroids, 0))
    assert all(np.array_equal(one, other) for one, other in zip(crops, again, strict=True))
