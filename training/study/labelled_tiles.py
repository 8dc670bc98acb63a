"""Tiles whose label is known (`fl_reactive`): their cells, their labels, and the blocks into which they are split."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.files import whole_file
from app.pipeline.crops import crop_cells
from app.pipeline.nuclei.border import drop_cut_nuclei
from app.pipeline.nuclei.segment import segment
from app.pipeline.presets import DEFAULT
from app.pipeline.stain.unmix import unmix
from app.pipeline.types import Int64Array
from training.cells.tile_files import tile_paths
from training.cells.unlabelled import CUT, UnlabelledCells
from training.errors import DataError
from training.study.typed_cells import read_enlarged

TILE_CELLS = "tile_cells.npz"
POSITIVE = "follicular_lymphoma"
N_BLOCKS = 4

Track = Callable[[Iterable[Path]], Iterable[Path]]


@dataclass(frozen=True)
class LabelledTiles:
    """Tiles with a label, and their cells.

    Attributes:
        unlabelled: the N cells of all tiles.
        positive: (T,) int64, 1 for tiles with the label `POSITIVE`, else 0.
        blocks: (T,) int64 in 0 … N_BLOCKS − 1, block of each tile.
        tiles: names of the tiles.
    """

    unlabelled: UnlabelledCells
    positive: Int64Array
    blocks: Int64Array
    tiles: tuple[str, ...]

    def save(self, directory: Path) -> None:
        """Write `tile_cells.npz` into the directory, whole or not at all."""
        with whole_file(directory / TILE_CELLS) as temporary:
            np.savez_compressed(
                temporary,
                crops=self.unlabelled.crops,
                tile_index=self.unlabelled.tile_index,
                centroids=self.unlabelled.centroids,
                positive=self.positive,
                blocks=self.blocks,
                tiles=np.array(self.tiles),
            )

    @classmethod
    def load(cls, directory: Path) -> LabelledTiles:
        """Read what `save` wrote.

        Raises:
            DataError: there is no `tile_cells.npz`, or another version wrote it.
        """
        path = directory / TILE_CELLS
        if not path.is_file():
            raise DataError(f"{path} does not exist; make it with `python -m training evaluate tile-cells`.")
        with np.load(path, allow_pickle=False) as stored:
            return cls(
                UnlabelledCells.read(stored, path, "make it anew with `python -m training evaluate tile-cells`."),
                stored["positive"],
                stored["blocks"],
                tuple(map(str, stored["tiles"])),
            )


def cut_labelled_tiles(directory: Path, track: Track = iter) -> LabelledTiles:
    """Enlarge labelled tiles of 20× to 40×, and cut out their cells as the pipeline does.

    Args:
        directory: directory that holds `tiles` and `labels.csv` (tile, index, label).
        track: wraps the tiles, to show progress.

    Raises:
        DataError: there is no table or no tile, a tile has no label or cannot be decoded, or no nucleus was found.
    """
    paths, positive, blocks = read_labelled(directory)
    crops, index, centroids = [], [], []
    for i, path in enumerate(track(paths)):
        stains = unmix(read_enlarged(path), DEFAULT.stain)
        found = segment(stains, DEFAULT)
        nuclei = drop_cut_nuclei(found)
        crops.append(crop_cells(stains.normalised, nuclei, CUT))
        centroids.append(nuclei.centroids)
        index.append(np.full(len(nuclei), i))
    if not sum(map(len, crops)):
        raise DataError(f"No nucleus was found in {directory}.")
    return LabelledTiles(
        UnlabelledCells(np.concatenate(crops), np.concatenate(index).astype(np.int64), np.concatenate(centroids)),
        positive,
        blocks,
        tuple(path.stem for path in paths),
    )


def read_labelled(directory: Path) -> tuple[list[Path], Int64Array, Int64Array]:
    """Return the files of T labelled tiles, `LabelledTiles.positive` and `LabelledTiles.blocks`.

    Args:
        directory: directory that holds `tiles` and `labels.csv` (tile, index, label).

    Raises:
        DataError: there is no table or no tile, or a tile has no label.
    """
    rows = _read_labels(directory / "labels.csv")
    paths = tile_paths(directory / "tiles")
    if missing := [path.stem for path in paths if path.stem not in rows]:
        raise DataError(f"{directory / 'labels.csv'} gives no label for {', '.join(missing)}.")
    positive = np.array([rows[path.stem]["label"] == POSITIVE for path in paths], np.int64)
    order = np.array([int(rows[path.stem]["index"]) for path in paths])
    return paths, positive, split_into_blocks(order, positive)


def split_into_blocks(order: np.ndarray, positive: Int64Array) -> Int64Array:
    """Split tiles into blocks: the tiles of each label, in their order, into N_BLOCKS parts of similar length.

    Neighbouring tiles look alike, so a fold must not separate them. Each label is split by itself, so that every block
    has tiles of both labels.

    Args:
        order: (T,) int, position of each tile among those of its label.
        positive: (T,) int64, 0 or 1.

    Returns:
        (T,) int64 in 0 … N_BLOCKS − 1.
    """
    blocks = np.zeros(len(order), np.int64)
    for label in (0, 1):
        members = np.flatnonzero(positive == label)
        for block, run in enumerate(np.array_split(members[np.argsort(order[members], kind="stable")], N_BLOCKS)):
            blocks[run] = block
    return blocks


def _read_labels(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        raise DataError(f"{path} does not exist.")
    with path.open(encoding="utf-8", newline="") as file:
        return {row["tile"]: row for row in csv.DictReader(file)}
