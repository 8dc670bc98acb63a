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
    values = np.full((len(nuclei), len(NEIGHBOURS)), np.nan)
    reasons = np.full(values.shape, MEASURED, np.uint8)
    if not len(nuclei):
        return values, reasons
    height, width = nuclei.label_image.shape
    centres = nuclei.centroids * mpp
    # The centre of the first pixel lies half a pixel from the border.
    to_border = np.minimum(nuclei.centroids + 0.5, (width, height) - nuclei.centroids - 0.5).min(axis=1) * mpp
    tree = cKDTree(centres)
    if len(nuclei) > 1:
        values[:, 0] = tree.query(centres, k=2)[0][:, 1]
    values[:, 1] = tree.query_ball_point(centres, NEIGHBOURHOOD_UM, return_length=True) - 1
    unseen = np.column_stack([~(values[:, 0] <= to_border), to_border < NEIGHBOURHOOD_UM])
    reasons[unseen] = NEAR_BORDER
    if len(nuclei) == 1:
        reasons[:, 0] = NO_NEIGHBOUR
    values[unseen] = np.nan
    return values, reasons
