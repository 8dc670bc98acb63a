"""A trained segmenter → the files of a run that a bundle takes over."""

from __future__ import annotations

import os
from pathlib import Path
from statistics import fmean

import numpy as np

from app.files import whole_file
from app.pipeline.manifest import SEGMENTER_ONNX
from app.pipeline.networks.architecture import Segmenter
from app.pipeline.networks.onnx import OnnxSegmenter
from app.pipeline.nuclei.network import GRID_PX
from app.pipeline.types import Float32Array, UInt8Array
from training.bundle.onnx_export import write_segmenter
from training.bundle.quantise import quantise_segmenter
from training.metrics.nuclei import count_overlap, panoptic_quality
from training.segmenter.agreement import find_nuclei

MIN_AGREEMENT = 0.97
"""The segmenter is exported in 8-bit integers if its nuclei agree at least so well with those of the exact one."""
CALIBRATION_TILES, CALIBRATION_PX = 32, 256
"""The ranges of the activations are measured on squares of at most this edge from at most so many tiles."""


def export_segmenter(net: Segmenter, tiles: list[UInt8Array], directory: Path) -> float:
    """Write the segmenter as ONNX, in 8-bit integers where that changes no nuclei to speak of, and its weights.

    Args:
        net: on the CPU.
        tiles: (h, w, 3) uint8 RGB each, at the network's scale, that it learned from or was checked on.
        directory: receives `SEGMENTER_ONNX` and `SEGMENTER_WEIGHTS`.

    Returns:
        How well the nuclei of the 8-bit network agree with those of the exact one: the panoptic quality, a mean over
        the tiles, 0–1. Below MIN_AGREEMENT, the exact network is written.

    Raises:
        OSError: a file cannot be written.
    """
    write_segmenter(net, directory)
    chosen = tiles[:: -(-len(tiles) // CALIBRATION_TILES)]
    exact = directory / SEGMENTER_ONNX
    with whole_file(directory / "rounded.onnx") as rounded:
        quantise_segmenter(exact, rounded, _squares(chosen))
        agreement = fmean(_agreement(tile, OnnxSegmenter(exact), OnnxSegmenter(rounded)) for tile in chosen)
    if agreement >= MIN_AGREEMENT:
        os.replace(directory / "rounded.onnx", exact)
    else:
        (directory / "rounded.onnx").unlink()
    return agreement


def _squares(tiles: list[UInt8Array]) -> list[Float32Array]:
    """Return the middle of each tile as the network sees it, (1, 3, s, s) float32, all of one size."""
    edge = min(CALIBRATION_PX, *(side for tile in tiles for side in tile.shape[:2])) // GRID_PX * GRID_PX
    middles = []
    for tile in tiles:
        y, x = ((side - edge) // 2 for side in tile.shape[:2])
        middle = tile[y : y + edge, x : x + edge].astype(np.float32) / 127.5 - 1
        middles.append(np.ascontiguousarray(middle.transpose(2, 0, 1))[None])
    return middles


def _agreement(tile: UInt8Array, exact: OnnxSegmenter, rounded: OnnxSegmenter) -> float:
    overlap = count_overlap(find_nuclei(tile, exact), find_nuclei(tile, rounded))
    return panoptic_quality(overlap)
