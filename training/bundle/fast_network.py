"""q_fast.onnx of a bundle, if it may answer in place of q.onnx: cells of tiles that it was not fitted to decide."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from app.files import write_whole
from app.pipeline.bundle.load import Expected, read_golden
from app.pipeline.crops import to_network
from app.pipeline.manifest import GOLDEN_EXPECTED, Q_FAST_ONNX, Q_ONNX, FastAgreement, FastNetwork
from app.pipeline.networks.encode import Encoded, encode
from app.pipeline.networks.onnx import OnnxBackend
from app.pipeline.proportions import summarise
from app.pipeline.types import BoolArray, Float64Array, Int64Array
from training.bundle.quantise import quantise
from training.cells.extract import Cells

HELD_OUT = 3
"""Every third tile is held out."""
MIN_AGREEMENT = 0.99
MAX_PROPORTION_CHANGE = 0.005
MIN_OUTLIER_AGREEMENT = 0.995
GOLDEN_TOLERANCE = 0.05
"""A processor that rounds one value to the next integer moves the surprise of golden cells by up to half of it."""


class NoFastNetwork(Exception):
    """There is none that may answer; the text says why."""


def make_fast(directory: Path, cells: Cells, threshold: float) -> FastNetwork:
    """Write q_fast.onnx beside q.onnx, and what it gives on the golden cells beside what that gives.

    Args:
        directory: the bundle, still without its manifest.
        cells: those that the bundle was trained on.
        threshold: of surprise, above which a cell is an outlier.

    Returns:
        Its part of the manifest.

    Raises:
        NoFastNetwork: it does not pass the gate; the file is not there.
        OSError: it cannot be written.
    """
    judged = held_out(cells.tile_index)
    if not judged.any():
        raise NoFastNetwork("all cells are of one tile, and none is left to judge it by.")
    fast = directory / Q_FAST_ONNX
    quantise(directory / Q_ONNX, fast, to_network(cells.crops[~judged]))
    backend, asked = OnnxBackend(directory, has_fast=True), cells.only(judged)
    golden, golden_cells = read_golden(directory)
    k = len(golden.cluster_probs[0])
    full, found = (encode(asked.crops, backend, k, precision) for precision in ("full", "fast"))
    agreed = agreement(full, found, asked.tile_index, threshold)
    if failed := failures(agreed):
        fast.unlink()
        raise NoFastNetwork("; ".join(failed) + ".")
    given = encode(golden_cells, backend, k, "fast")
    expected = Expected(cluster_probs=given.cluster_probs.tolist(), surprise=given.surprise.tolist())
    both = golden.model_copy(update={"fast": expected})
    write_whole(both.model_dump_json().encode(), directory / GOLDEN_EXPECTED)
    fitted = int((~judged).sum())
    return FastNetwork(kind="int8", fitted_cells=fitted, agreement=agreed, tolerance=GOLDEN_TOLERANCE)


def held_out(tile_index: Int64Array) -> BoolArray:
    """(N,) bool: cells of the tiles that the gate looks at; none when all cells are of one tile."""
    return np.isin(tile_index, np.unique(tile_index)[1::HELD_OUT])


def agreement(full: Encoded, fast: Encoded, tile_index: Int64Array, threshold: float) -> FastAgreement:
    """How far the fast Q says what the full one says.

    Args:
        full: what the full Q says of N cells.
        fast: what the fast one says of the same.
        tile_index: (N,) the tile of each.
        threshold: of surprise, above which a cell is an outlier.
    """
    outlier, fast_outlier = full.surprise > threshold, fast.surprise > threshold
    tiles = np.unique(tile_index)

    def change(chosen: BoolArray) -> float:
        before, after = _proportions(full, outlier, chosen), _proportions(fast, fast_outlier, chosen)
        return float(np.abs(after - before).max())

    same = full.cluster_probs.argmax(axis=1) == fast.cluster_probs.argmax(axis=1)
    return FastAgreement(
        tiles=len(tiles),
        cells=len(tile_index),
        clusters=float(same.mean()),
        outliers=float((outlier == fast_outlier).mean()),
        proportion_change=change(np.ones(len(tile_index), bool)),
        worst_tile_proportion_change=max(change(tile_index == tile) for tile in tiles),
    )


def failures(found: FastAgreement) -> list[str]:
    """What the gate does not let pass, in words; empty when the fast Q may answer."""
    checks = {
        f"cells in the same cluster: {found.clusters:.4f}, wanted ≥ {MIN_AGREEMENT}": found.clusters >= MIN_AGREEMENT,
        f"largest change of a proportion: {found.proportion_change:.4f}, wanted < {MAX_PROPORTION_CHANGE}": (
            found.proportion_change < MAX_PROPORTION_CHANGE
        ),
        f"cells alike in being outliers: {found.outliers:.4f}, wanted ≥ {MIN_OUTLIER_AGREEMENT}": (
            found.outliers >= MIN_OUTLIER_AGREEMENT
        ),
    }
    return [said for said, passes in checks.items() if not passes]


def _proportions(encoded: Encoded, outlier: BoolArray, chosen: BoolArray) -> Float64Array:
    """(K,) of the chosen cells; zeros where all are outliers."""
    values = summarise(encoded.cluster_probs[chosen], outlier[chosen]).values
    return np.zeros(encoded.cluster_probs.shape[1]) if values is None else values
