"""Shares of tissue beside the maps of another program (`mds_cores`): pixel classes of a Weka model, not of a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from app.pipeline.bundle.load import Bundle
from app.pipeline.run import analyse
from app.pipeline.tissue.classes import BONE_AND_STROMA, FAT, HAEMATOPOIETIC, RED_CELLS
from app.pipeline.types import UInt8Array
from training.cells.tile_files import MAX_TILE_PIXELS, read_tile, tile_paths
from training.errors import DataError
from training.study.protocols.segmentation import Track

KINDS = {"cells": HAEMATOPOIETIC, "stroma": BONE_AND_STROMA, "red": RED_CELLS}
"""What the maps tell apart, and our class of it; they call all else rest, fat as well as glass."""
MAP_VALUES = {"rest": 0, "stroma": 1, "cells": 2, "red": 3}


def evaluate_tissue(directory: Path, bundle: Bundle, mpp: float, track: Track = iter) -> dict[str, Any]:
    """Compare the tissue of each core with its map.

    Args:
        directory: directory that holds `tiles`, and in `maps` a PNG of the same name and size for each of them.
        bundle: bundle that finds the nuclei.
        mpp: µm per pixel of the cores.
        track: wraps the cores, to show progress.

    Returns:
        `mpp`, and `cores`: for each core, the share of the picture that each kind has here (`cells`, …) and in the map
        (`cells_map`, …), `agreement` (the share of pixels on which both agree) and `dice_cells` (Dice's coefficient of
        the cells' pixels); and `fat` and `cellularity`, which the maps do not know.

    Raises:
        DataError: there is no tile, or one has no map of its size.
    """
    return {
        "mpp": mpp,
        "cores": {path.stem: _core(path, bundle, mpp) for path in track(tile_paths(directory / "tiles"))},
    }


def _core(path: Path, bundle: Bundle, mpp: float) -> dict[str, float]:
    theirs = _read_map(path.parent.parent / "maps" / f"{path.stem}.png", read_tile(path).shape[:2])
    tissue = analyse(path.read_bytes(), bundle, max_pixels=MAX_TILE_PIXELS, mpp=mpp).tissue
    classes = cv2.resize(tissue.classes, theirs.shape[::-1], interpolation=cv2.INTER_NEAREST)
    ours = np.full(theirs.shape, MAP_VALUES["rest"], np.uint8)
    for kind, number in KINDS.items():
        ours[classes == number] = MAP_VALUES[kind]
    found: dict[str, float] = {}
    for kind, value in MAP_VALUES.items():
        found |= {kind: float((ours == value).mean()), f"{kind}_map": float((theirs == value).mean())}
    cells = ours == MAP_VALUES["cells"], theirs == MAP_VALUES["cells"]
    found["agreement"] = float((ours == theirs).mean())
    found["dice_cells"] = float(2 * (cells[0] & cells[1]).sum() / max(cells[0].sum() + cells[1].sum(), 1))
    found["fat"] = float(tissue.shares[FAT])
    return found if tissue.cellularity is None else {**found, "cellularity": tissue.cellularity}


def _read_map(path: Path, shape: tuple[int, ...]) -> UInt8Array:
    if not path.is_file():
        raise DataError(f"{path} does not exist.")
    found = read_tile(path)[..., 0]
    if found.shape != shape:
        raise DataError(f"{path} has {found.shape[1]} x {found.shape[0]} pixels, and its core {shape[1]} x {shape[0]}.")
    return np.ascontiguousarray(found)
