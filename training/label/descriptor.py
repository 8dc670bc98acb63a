"""The measurements that may stand beside the proportions in the descriptor of a tile: which, and their standards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from app.pipeline.measure.cells import medians
from app.pipeline.measure.table import INDEX, MEASUREMENTS
from app.pipeline.types import Float64Array
from training.cells.extract import Cells
from training.config import FitConfig
from training.errors import DataError

NAMES = ("area", "eccentricity", "haematoxylin_od_mean", "chromatin_contrast")
"""Size, shape, darkness and chromatin: one measurement of each, since few tiles cannot teach more weights."""


@dataclass(frozen=True)
class Standards:
    """The measurements of a descriptor, and how their medians are standardised; none for proportions alone.

    Attributes:
        names: public names of the D measurements where the scale is known.
        titles: what they are called in words.
        centres: (D,) float64, mean of the medians of the tiles.
        scales: (D,) float64, standard deviation of these medians; 1 where they are all the same.
    """

    names: tuple[str, ...]
    titles: tuple[str, ...]
    centres: Float64Array
    scales: Float64Array

    def of(self, values: Float64Array, whose: str) -> Float64Array:
        """Return the standardised medians of some cells, (n, M) → (D,).

        Args:
            values: (n, M) the measurements of the cells.
            whose: what the cells are of, for the error.

        Raises:
            DataError: one of the measurements was made on none of the cells.
        """
        return np.asarray((_medians(values, self.names, whose) - self.centres) / self.scales)

    def as_manifest(self) -> list[dict[str, Any]]:
        """Return the field `measurements` of `app.pipeline.manifest.ImageLevel`."""
        columns = zip(self.names, self.titles, self.centres.tolist(), self.scales.tolist(), strict=True)
        return [dict(zip(("measurement", "title", "centre", "scale"), row, strict=True)) for row in columns]


def fit_standards(cells: Cells, config: FitConfig) -> Standards:
    """Choose the measurements of a configuration's descriptor, and standardise them by all tiles that have cells.

    Raises:
        DataError: a measurement was made on no cell of a tile.
    """
    chosen = [MEASUREMENTS[INDEX[name]] for name in (NAMES if config.descriptor != "proportions" else ())]
    names = tuple(measurement.column(scale_known=True) for measurement in chosen)
    found = np.array(
        [
            _medians(cells.measurements[cells.tile_index == tile], names, f"tile {cells.tiles[tile]}")
            for tile in np.unique(cells.tile_index)
        ]
    )
    scales = found.std(axis=0)
    titles = tuple(measurement.title for measurement in chosen)
    return Standards(names, titles, found.mean(axis=0), np.where(scales > 0, scales, 1.0))


def _medians(values: Float64Array, names: tuple[str, ...], whose: str) -> Float64Array:
    found = medians(values, names)
    if missing := [name for name in names if name not in found]:
        raise DataError(
            f"{', '.join(missing)} was measured on no cell of {whose}, so that it has no descriptor. Leave it out, or "
            'say descriptor = "proportions" in [fit].'
        )
    return np.array([found[name] for name in names])
