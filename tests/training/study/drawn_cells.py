"""Cells of two types that a glance at their colour tells apart, and systems that do just that."""

from __future__ import annotations

import numpy as np

from app.pipeline.crops import pictures
from training.cells.unlabelled import UnlabelledCells
from training.study.typed_cells import TypedCells

N_TILES = 10
CELLS_PER_TILE = 12


def unlabelled(n_tiles=N_TILES, dark_share=None, seed=0):
    """Tiles of dark and pale cells; `dark_share` is that of each tile, half where it is not given."""
    random = np.random.default_rng(seed)
    shares = np.full(n_tiles, 0.5) if dark_share is None else np.asarray(dark_share)
    index = np.repeat(np.arange(n_tiles), CELLS_PER_TILE)
    dark = np.tile(np.arange(CELLS_PER_TILE) / CELLS_PER_TILE, n_tiles) < shares[index]
    grey = np.where(dark, 60, 180)[:, None, None, None] + random.integers(-20, 20, (len(index), 32, 32, 7))
    return UnlabelledCells(grey.astype(np.uint8), index, random.uniform(0, 200, (len(index), 2))), dark


def placed(crops, n_tiles=2):
    """Crops as cells of tiles in which they lie in a row."""
    order = np.arange(len(crops))
    centroids = np.stack([20.0 * order, np.zeros(len(crops))], axis=1)
    return UnlabelledCells(crops, order * n_tiles // len(crops), centroids)


def labelled(seed=0):
    cells, dark = unlabelled(seed=seed)
    return TypedCells(cells, dark.astype(np.int64), ("pale", "dark"), tuple(map(str, range(N_TILES))))


class ByGrey:
    """Clusters, features and probabilities from the mean grey; remembers what it learned from."""

    def __init__(self, *arguments):
        self.arguments = arguments
        self.seen = None

    def fit(self, cells):
        self.seen = cells.crops

    def clusters(self, crops):
        return (self.features(crops)[:, 0] < 120).astype(np.int64)

    def features(self, crops):
        return pictures(crops).mean(axis=(1, 2), dtype=np.float32)

    def probabilities(self, crops):
        return np.eye(2, dtype=np.float32)[self.clusters(crops)] * 0.8 + 0.1

    def notes(self):
        return {"learned_from": len(self.seen)}
