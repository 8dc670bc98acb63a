"""Cells without types or labels: all that an unsupervised training may learn from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from app.pipeline.crops import CROP_PX
from app.pipeline.types import CHANNELS, CropKind, Float64Array, Int64Array, UInt8Array
from training.errors import DataError

CUT: CropKind = "surroundings"
"""What is cut of each cell, for training and study; networks and figures take parts of it, see `app.pipeline.crops`."""


@dataclass(frozen=True)
class UnlabelledCells:
    """Cells without types or labels.

    Attributes:
        crops: (N, 32, 32, C) uint8; in files, C is that of `CUT`.
        tile_index: (N,) int64, the index of each cell's tile.
        centroids: (N, 2) float64, x and y in px of that tile, at the scale of the crops.
    """

    crops: UInt8Array
    tile_index: Int64Array
    centroids: Float64Array

    @classmethod
    def read(cls, stored: NpzFile, path: Path, again: str) -> UnlabelledCells:
        """Read the cells from an open file.

        Args:
            stored: arrays with the names of the attributes.
            path: of the file, for the message.
            again: how to make it anew, for the message.

        Raises:
            DataError: another version wrote the file.
        """
        crops = stored["crops"]
        check_channels(crops, path, again)
        return cls(crops, stored["tile_index"], stored["centroids"])

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.crops)

    def __getitem__(self, chosen: np.ndarray) -> UnlabelledCells:
        """Return some of the cells, by a (N,) bool mask or by indices."""
        return UnlabelledCells(self.crops[chosen], self.tile_index[chosen], self.centroids[chosen])


def check_channels(crops: UInt8Array, path: Path, again: str) -> None:
    """Check that crops which were read from a file have the channels of `CUT`.

    Raises:
        DataError: another version cut them; the message says what to do, which is `again`.
    """
    if crops.shape[1:] != (CROP_PX, CROP_PX, CHANNELS[CUT]):
        raise DataError(f"{path} is of another version; {again}")
