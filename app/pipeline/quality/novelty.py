"""How unlike the cells of usual tiles may be, before a cell is an outlier, or a tile is called unlike.

`outlier_limits` takes the limits from tiles, and `novelty` compares the cells of a tile with them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from app.pipeline.manifest import Outliers, TileSurprise
from app.pipeline.types import BoolArray, Float32Array, Float64Array, Int64Array

TRAINING_SHARE = 0.01
"""The threshold is set so that this share of the training cells is outliers, by fits that leave their tile out."""
MIN_MAX_SHARE = 0.05
"""Lowest value of the limit `max_share` on the share of outliers in a tile, 0–1."""
TILE_CONFIDENCE = 0.98
"""Share of further tiles like the training tiles whose mean surprise stays below the limit."""
MARGIN = 2.0
"""`max_share`, as a multiple of the largest share of outliers that a training tile surely has; a JPEG has no margin."""

SMALLEST_MARGIN = 1e-9
"""In nats: training tiles that are all the same leave none."""
MAX_DISTANCE = 1.25
"""How far a tile's medians may lie from those of the reference tiles, as `distance_from` measures it.

Chosen between the training tiles of `marrow` saved as JPEG of quality 75, which reach 1.01, and tiles of lymph nodes
that no other flag refused, which begin at 1.40.
"""


def outlier_limits(forms: Sequence[Float64Array], tile_index: Int64Array, components: int) -> Outliers:
    """Take the limits from the surprise of cells of usual tiles.

    Args:
        forms: (N,) the surprise of each cell by a fit that has not seen its tile; then, if there is more, the same of
            the tiles in another form, such as JPEG, which a tile may have without being unlike.
        tile_index: (N,) the tile of each cell.
        components: number of principal components of the fit.
    """
    threshold = float(np.quantile(forms[0], 1 - TRAINING_SHARE))
    tiles = [form[tile_index == tile] for tile in np.unique(tile_index) for form in forms]
    shares = [_certain_share(tile > threshold) for tile in tiles]
    return Outliers(
        components=components,
        threshold=threshold,
        training_share=float((forms[0] > threshold).mean()),
        max_share=min(1.0, max(MIN_MAX_SHARE, MARGIN * max(shares[:: len(forms)]), *shares)),
        tile_surprise=tile_surprise(tiles, len(tiles) // len(forms)),
    )


def tile_surprise(tiles: Sequence[Float64Array], n_tiles: int) -> TileSurprise | None:
    """Return how far above the usual the mean surprise of a tile's cells may be, before the tile is called unlike.

    The limit is the upper end of a prediction interval for one more tile: means of tiles are taken to be normal, with
    a variance between tiles and a variance of the cells within them (a model of random effects, by its moments).

    Args:
        tiles: the surprise of the cells of each tile, when it is left out of the fit; a tile may occur in
            several forms.
        n_tiles: how many tiles there are; each has as many forms.

    Returns:
        None if there is only one tile, since one does not show how others differ.
    """
    if n_tiles < 2:
        return None
    means = np.array([cells.mean() for cells in tiles])
    within = float(np.mean([cells.var() for cells in tiles]))
    by_cells = float(np.mean([cells.var() / len(cells) for cells in tiles]))
    between = max(0.0, float(means.var(ddof=1)) - by_cells)
    quantile = float(stdtrit(n_tiles - 1, TILE_CONFIDENCE))
    return TileSurprise(
        mean=float(means.mean()),
        tile_margin=quantile * (between + (between + by_cells) / n_tiles) ** 0.5,
        cell_margin=quantile * within**0.5,
        tiles=n_tiles,
    )


def novelty(surprise: Float32Array, outliers: Outliers, distance: float | None) -> float | None:
    """Say how unlike the training tiles the cells of a tile are, taken together.

    Args:
        surprise: (N,) float32, the surprise of each of its cells, outliers included.
        outliers: the bundle's limits.
        distance: of the medians of its measurements from those of the reference tiles, by `distance_from`.

    Returns:
        0 for a tile like the mean of the training tiles; above 1 for one with the flag `unlike_training_tiles`: the
        mean surprise or the distance is then above its limit. None if nothing can be compared.
    """
    scores = [] if distance is None else [distance / MAX_DISTANCE]
    usual = outliers.tile_surprise
    if usual is not None and len(surprise):
        above = float(surprise.mean(dtype=np.float64)) - usual.mean
        margin = max(usual.limit(len(surprise)) - usual.mean, SMALLEST_MARGIN)
        scores.append(max(0.0, above / margin))
    return max(scores, default=None)


def _certain_share(outlier: BoolArray) -> float:
    """Return the share of outliers in a tile, less two standard errors: a tile of four cells proves little."""
    share = float(outlier.mean())
    return float(share - 2 * (share * (1 - share) / len(outlier)) ** 0.5)
