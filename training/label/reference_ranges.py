"""The cells of the healthy training tiles → the reference ranges of the bundle."""

from __future__ import annotations

import numpy as np

from app.pipeline.fit.reference_fit import ReferenceCells, fit_reference_ranges
from app.pipeline.measure.table import MEASUREMENTS
from app.pipeline.reference_ranges import ReferenceRanges
from app.pipeline.types import Int64Array
from training.cells.extract import Cells

UNLABELLED = "{n} training tiles, all of them healthy, of unknown patients"
NORMAL = "{n} training tiles that were labelled normal, of {patients}"


def fit_ranges(cells: Cells, clusters: Int64Array, n_clusters: int) -> ReferenceRanges | None:
    """Compute the ranges from the tiles labelled normal or, where no tile has a label, from all tiles.

    Args:
        cells: N counted cells.
        clusters: (N,) int64, the cluster of each cell.
        n_clusters: K.

    Returns:
        None if these tiles, or their patients, are fewer than two.
    """
    tiles = np.unique(cells.tile_index)
    labels = None if cells.labels is None else cells.labels.only(tiles)
    if labels is not None:
        tiles, labels = tiles[labels.abnormal == 0], labels.only(np.flatnonzero(labels.abnormal == 0))
    chosen = np.isin(cells.tile_index, tiles)
    patients = None if labels is None else labels.patients
    if labels is None:
        basis = UNLABELLED.format(n=len(tiles))
    else:
        known = "unknown patients" if labels.n_patients is None else f"{labels.n_patients} patients"
        basis = NORMAL.format(n=len(tiles), patients=known)
    reference = ReferenceCells(
        clusters=clusters[chosen],
        tile_index=np.searchsorted(tiles, cells.tile_index[chosen]),
        n_clusters=n_clusters,
        names=tuple(measurement.name for measurement in MEASUREMENTS),
        units=tuple(measurement.unit for measurement in MEASUREMENTS),
        measurements=cells.measurements[chosen],
        cellularity=cells.cellularity[tiles],
        patients=patients,
    )
    return fit_reference_ranges(reference, basis)
