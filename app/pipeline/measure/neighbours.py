"""How near the other nuclei are."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from app.pipeline.measure.table import MEASURED, NEAR_BORDER, NEIGHBOURHOOD_UM, NEIGHBOURS, NO_NEIGHBOUR
from app.pipeline.types import Float64Array, Nuclei, UInt8Array


def measure_neighbours(nuclei: Nuclei, mpp: float) -> tuple[Float64Array, UInt8Array]:
    """Measure the distance to the nearest other nucleus, and count those nearby.

    Neither is known where a nearer nucleus, or another one, may lie beyond the tile's border.

    Args:
        nuclei: N nuclei, those included that the border cuts.
        mpp: µm per pixel.

    Returns:
        (N, 2) float64, NaN where it is not known; and (N, 2) uint8 the reasons, see `table.REASONS`.
    """
    height, width = nuclei.label_image.shape
    # The centre of the first pixel lies half a pixel from the border.
    to_border = np.minimum(nuclei.centroids + 0.5, (width, height) - nuclei.centroids - 0.5).min(axis=1)
    return neighbours_of(nuclei.centroids * mpp, to_border * mpp)


def neighbours_of(centres: Float64Array, to_border: Float64Array) -> tuple[Float64Array, UInt8Array]:
    """Do what `measure_neighbours` does for nuclei of which only the places are known.

    Args:
        centres: (N, 2) float64 x, y in µm.
        to_border: (N,) float64, the distance to the border of what was seen, in µm.
    """
    values = np.full((len(centres), len(NEIGHBOURS)), np.nan)
    reasons = np.full(values.shape, MEASURED, np.uint8)
    if not len(centres):
        return values, reasons
    tree = cKDTree(centres)
    if len(centres) > 1:
        values[:, 0] = tree.query(centres, k=2)[0][:, 1]
    values[:, 1] = tree.query_ball_point(centres, NEIGHBOURHOOD_UM, return_length=True) - 1
    unseen = np.column_stack([~(values[:, 0] <= to_border), to_border < NEIGHBOURHOOD_UM])
    reasons[unseen] = NEAR_BORDER
    if len(centres) == 1:
        reasons[:, 0] = NO_NEIGHBOUR
    values[unseen] = np.nan
    return values, reasons
