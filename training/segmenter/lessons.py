"""The tiles that the segmenter learns from, at the network's scale, and the pseudo-labels of each round."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.files import whole_file
from app.pipeline.nuclei.network import reduce_tile
from app.pipeline.presets import LEARNED
from app.pipeline.stain.unmix import on_white, unmix
from app.pipeline.types import UInt8Array
from training.cells.tile_files import read_tile
from training.errors import DataError
from training.segmenter.pseudo_labels import PseudoLabels, labels_of_segmentation

TILES = "tiles.npz"


@dataclass(frozen=True)
class Tile:
    """A tile that the network learns from, or is checked on.

    Attributes:
        name: path of its file below the folder that the user named, with that folder's own name.
        folder: which of the folders it comes from.
        sha256: hex digest of its file.
        pixels: (h, w, 3) uint8 RGB, normalised, at the network's scale.
        held_out: whether it is only checked on.
    """

    name: str
    folder: int
    sha256: str
    pixels: UInt8Array
    held_out: bool


def prepare(
    folders: Sequence[Sequence[Path]], held_out_every: int, track: Callable[[Iterable], Iterable] = iter
) -> tuple[list[Tile], list[PseudoLabels]]:
    """Read the tiles, and make their first pseudo-labels from our own segmentation.

    Args:
        folders: the files of each folder.
        held_out_every: of each folder, one tile in this many is held out; of all of them, at least one.
        track: wraps the tiles, to show progress.

    Raises:
        DataError: a tile cannot be read, there are fewer than two, or one is there twice.
    """
    places = [(number, i, path) for number, paths in enumerate(folders) for i, path in enumerate(paths)]
    if len(places) < 2:
        raise DataError("The segmenter needs at least two tiles: it learns from some, and is checked on others.")
    last = len(places) - 1
    none = all(len(paths) < held_out_every for paths in folders)
    tiles, labels = [], []
    for at, (number, i, path) in enumerate(track(places)):
        stain = unmix(read_tile(path), LEARNED.stain, LEARNED.engine)
        pixels = reduce_tile(on_white(stain.normalised, stain.tissue), LEARNED.reduction)
        held_out = i % held_out_every == held_out_every - 1 or (none and at == last)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        tiles.append(Tile(f"{path.parent.name}/{path.name}", number, digest, pixels, held_out))
        labels.append(labels_of_segmentation(stain, LEARNED.reduction))
    _refuse_twins(tiles)
    return tiles, labels


def _refuse_twins(tiles: list[Tile]) -> None:
    seen: dict[str, str] = {}
    for tile in tiles:
        if (other := seen.setdefault(tile.sha256, tile.name)) != tile.name:
            raise DataError(f"{other} and {tile.name} are the same picture; remove one of them.")


def save_tiles(tiles: list[Tile], directory: Path) -> None:
    """Write `tiles.npz` into the directory, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    pixels: dict[str, Any] = {f"pixels_{i}": tile.pixels for i, tile in enumerate(tiles)}
    with whole_file(directory / TILES) as path:
        np.savez_compressed(
            path,
            names=np.array([tile.name for tile in tiles]),
            folders=np.array([tile.folder for tile in tiles]),
            sha256=np.array([tile.sha256 for tile in tiles]),
            held_out=np.array([tile.held_out for tile in tiles]),
            **pixels,
        )


def load_tiles(directory: Path) -> list[Tile] | None:
    """Read what `save_tiles` wrote, or return None if there is none yet."""
    path = directory / TILES
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        columns = zip(*(stored[name].tolist() for name in ("names", "folders", "sha256", "held_out")), strict=True)
        return [
            Tile(name, folder, sha256, stored[f"pixels_{i}"], held_out)
            for i, (name, folder, sha256, held_out) in enumerate(columns)
        ]


def check_same_tiles(tiles: list[Tile], folders: Sequence[Sequence[Path]], directory: Path) -> None:
    """Refuse to go on with other tiles than a run began with.

    Raises:
        DataError: the files differ; the text names one that does.
    """
    begun = {(tile.folder, tile.sha256): tile.name for tile in tiles}
    given = {
        (number, hashlib.sha256(path.read_bytes()).hexdigest()): f"{path.parent.name}/{path.name}"
        for number, paths in enumerate(folders)
        for path in paths
    }
    if differing := sorted({begun.get(key) or given[key] for key in begun.keys() ^ given.keys()}):
        raise DataError(
            f"{directory} holds a run on other tiles ({differing[0]} and {len(differing) - 1} more differ); choose "
            "another directory."
        )


def save_labels(labels: list[PseudoLabels], directory: Path, round_number: int) -> None:
    """Write the pseudo-labels of a round into the directory, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    pictures: dict[str, Any] = {str(i): each.stacked() for i, each in enumerate(labels)}
    with whole_file(directory / _labels_name(round_number)) as path:
        np.savez_compressed(path, **pictures)


def load_labels(directory: Path, round_number: int) -> list[PseudoLabels] | None:
    """Read what `save_labels` wrote, or return None if there is none yet."""
    path = directory / _labels_name(round_number)
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        return [PseudoLabels(*np.moveaxis(stored[str(i)], 2, 0)) for i in range(len(stored.files))]


def _labels_name(round_number: int) -> str:
    return f"labels-{round_number}.npz"


def lessons(tiles: list[Tile], labels: list[PseudoLabels]) -> list[list[UInt8Array]]:
    """Return for each folder its tiles that are learned from, (h, w, 7) uint8: pixels and pseudo-labels.

    Raises:
        DataError: no tile has a pseudo-label of a nucleus.
    """
    by_folder: dict[int, list[UInt8Array]] = {}
    for tile, label in zip(tiles, labels, strict=True):
        if not tile.held_out:
            by_folder.setdefault(tile.folder, []).append(np.dstack([tile.pixels, label.stacked()]))
    if not any(lesson[..., 3].any() for of_folder in by_folder.values() for lesson in of_folder):
        raise DataError("There is nothing to learn: no nucleus was found in any tile.")
    return list(by_folder.values())
