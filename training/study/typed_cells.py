"""Cells whose type is known, to score clusters with: those of `crchisto` (typed centres) and `consep` (typed masks).

The types are used for scoring alone; a system that learns without types sees `TypedCells.unlabelled`.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from app.files import whole_file
from app.pipeline.crops import crop_cells
from app.pipeline.nuclei.measure import measure
from app.pipeline.nuclei.segment import segment
from app.pipeline.presets import DEFAULT
from app.pipeline.stain.unmix import unmix
from app.pipeline.types import Float64Array, Int32Array, Int64Array, UInt8Array
from training.cells.extract import CELLS, Cells
from training.cells.tile_files import read_tile, tile_paths
from training.cells.unlabelled import CUT, UnlabelledCells
from training.errors import DataError
from training.metrics.nuclei import matched_pairs

LABELLED = "labelled.npz"
UPSAMPLING = 2
"""`crchisto` and `fl_reactive` were scanned at 20×; the segmentation and the crops are for 40×."""
MATCH_RADIUS_PX = 10
"""Largest distance between a typed centre and the centroid of its nucleus, px at 40×, as for detection."""

Track = Callable[[Iterable[Path]], Iterable[Path]]


@dataclass(frozen=True)
class Found:
    """The typed nuclei of a tile.

    Attributes:
        crops: (N, 32, 32, 7) uint8.
        centroids: (N, 2) float64.
        types: name of the type of each.
    """

    crops: UInt8Array
    centroids: Float64Array
    types: list[str]


@dataclass(frozen=True)
class TypedCells:
    """Cells with the type that a pathologist gave them.

    Attributes:
        unlabelled: the cells without their types.
        types: (N,) int64, index of each cell's type in `type_names`.
        type_names: names of the types, sorted.
        tiles: names of the tiles.
    """

    unlabelled: UnlabelledCells
    types: Int64Array
    type_names: tuple[str, ...]
    tiles: tuple[str, ...]

    def save(self, directory: Path) -> None:
        """Write `labelled.npz` into the directory, whole or not at all."""
        with whole_file(directory / LABELLED) as temporary:
            np.savez_compressed(
                temporary,
                crops=self.unlabelled.crops,
                tile_index=self.unlabelled.tile_index,
                centroids=self.unlabelled.centroids,
                types=self.types,
                type_names=np.array(self.type_names),
                tiles=np.array(self.tiles),
            )

    @classmethod
    def load(cls, directory: Path) -> TypedCells:
        """Read what `save` wrote.

        Raises:
            DataError: there is no `labelled.npz`, or another version wrote it.
        """
        path = directory / LABELLED
        if not path.is_file():
            raise DataError(f"{path} does not exist; make it with `python -m training labelled`.")
        with np.load(path, allow_pickle=False) as stored:
            return cls(
                UnlabelledCells.read(stored, path, "make it anew with `python -m training labelled`."),
                stored["types"],
                tuple(map(str, stored["type_names"])),
                tuple(map(str, stored["tiles"])),
            )


def cut_typed_cells(directory: Path, track: Track = iter) -> TypedCells:
    """Cut the typed cells out of the tiles of `crchisto` or `consep`, stain-normalised as the pipeline does.

    Args:
        directory: directory that holds `tiles`, and either `cells.csv` (tile, x, y, type) or `nuclei.csv` (tile, label,
            type) with `labels`.
        track: wraps the tiles, to show progress.

    Raises:
        DataError: the directory holds neither table or no tile, a tile cannot be decoded, or no cell was found.
    """
    if (directory / "nuclei.csv").is_file():
        table, find = _read_table(directory / "nuclei.csv"), _by_masks
    elif (directory / "cells.csv").is_file():
        table, find = _read_table(directory / "cells.csv"), _by_centres
    else:
        raise DataError(f"{directory} holds neither nuclei.csv nor cells.csv.")
    crops, index, centroids, types = [], [], [], []
    paths = tile_paths(directory / "tiles")
    for i, path in enumerate(track(paths)):
        found = find(path, table[path.stem])
        crops.append(found.crops)
        centroids.append(found.centroids)
        index.append(np.full(len(found.types), i))
        types += found.types
    if not types:
        raise DataError(f"No typed cell was found in {directory}.")
    type_names, numbers = np.unique(types, return_inverse=True)
    return TypedCells(
        UnlabelledCells(np.concatenate(crops), np.concatenate(index).astype(np.int64), np.concatenate(centroids)),
        numbers.astype(np.int64),
        tuple(map(str, type_names)),
        tuple(path.stem for path in paths),
    )


def load_unlabelled(directory: Path) -> UnlabelledCells:
    """Return the cells that `cells` or `labelled` wrote into a directory, without their types.

    Raises:
        DataError: neither of them did, or another version did.
    """
    if (directory / CELLS).is_file():
        return Cells.load(directory).unlabelled
    return TypedCells.load(directory).unlabelled


def read_enlarged(path: Path) -> UInt8Array:
    """Read a tile of 20× and enlarge it to 40×, (2H, 2W, 3) uint8.

    Raises:
        DataError: the tile cannot be decoded.
    """
    pixels = read_tile(path)
    size = (pixels.shape[1] * UPSAMPLING, pixels.shape[0] * UPSAMPLING)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _read_table(path: Path) -> dict[str, list[dict[str, str]]]:
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows[row["tile"]].append(row)
    return rows


def _by_masks(path: Path, rows: list[dict[str, str]]) -> Found:
    """Find the typed nuclei of a tile by the masks that annotators outlined."""
    pixels = read_tile(path)
    with Image.open(path.parents[1] / "labels" / f"{path.stem}.png") as image:
        labels: Int32Array = np.asarray(image, dtype=np.int32)
    type_of = {int(row["label"]): row["type"] for row in rows}
    kept = np.array([label for label in np.unique(labels) if label in type_of], dtype=np.int64)
    new = np.zeros(int(labels.max()) + 1, np.int32)
    new[kept] = np.arange(1, len(kept) + 1)
    nuclei = measure(new[labels])
    crops = crop_cells(unmix(pixels, DEFAULT.stain).normalised, nuclei, CUT)
    return Found(crops, nuclei.centroids, [type_of[int(label)] for label in kept])


def _by_centres(path: Path, rows: list[dict[str, str]]) -> Found:
    """Segment a tile and find the nuclei that lie at a typed centre."""
    stains = unmix(read_enlarged(path), DEFAULT.stain)
    nuclei = segment(stains, DEFAULT)
    centres = np.array([(float(row["x"]), float(row["y"])) for row in rows]).reshape(-1, 2) * UPSAMPLING
    found, typed = matched_pairs(nuclei.centroids, centres, MATCH_RADIUS_PX)
    crops = crop_cells(stains.normalised, nuclei, CUT)
    return Found(crops[found], nuclei.centroids[found], [rows[i]["type"] for i in typed])
