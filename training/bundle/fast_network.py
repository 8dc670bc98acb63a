"""q_fast.onnx of a bundle, and the gate that decides whether it may answer in place of q.onnx.

The gate compares both on the cells of tiles that the fast network was not fitted to.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.metrics import r2_score

from app.files import write_whole
from app.pipeline.bundle.load import Expected, read_golden
from app.pipeline.crops import to_network
from app.pipeline.manifest import GOLDEN_EXPECTED, Q_FAST_ONNX, Q_ONNX, FastAgreement, FastNetwork
from app.pipeline.networks.encode import Encoded, encode
from app.pipeline.networks.onnx import OnnxBackend
from app.pipeline.proportions import summarise
from app.pipeline.types import BoolArray, Float64Array, Int64Array, UInt8Array
from training.bundle.quantise import quantise

HELD_OUT = 3
"""Every third tile is held out of the fit, for the gate."""
MIN_AGREEMENT = 0.99
MAX_PROPORTION_CHANGE = 0.005
MIN_OUTLIER_AGREEMENT = 0.995
MIN_FEATURES_EXPLAINED = 0.98
GOLDEN_TOLERANCE = 0.05
"""Largest difference from the golden pair.

If a processor rounds one value to another integer, the surprise of golden cells moves by up to half of this.
"""


class NoFastNetwork(Exception):
    """No fast network may answer; the text says why."""


def make_fast(directory: Path, crops: UInt8Array, tile_index: Int64Array, threshold: float) -> FastNetwork:
    """Write q_fast.onnx beside q.onnx, and add what it gives for the golden cells to the golden pair.

    Args:
        directory: the bundle, still without its manifest.
        crops: (N, 32, 32, C) uint8, what the networks see of the cells that the bundle was trained on.
        tile_index: (N,) the tile of each cell.
        threshold: a cell with a higher surprise is an outlier.

    Returns:
        The field `fast` of the manifest.

    Raises:
        NoFastNetwork: it does not pass the gate; q_fast.onnx is not written.
        OSError: it cannot be written.
    """
    left_out = held_out(tile_index)
    if not left_out.any():
        raise NoFastNetwork("all cells are of one tile, so none can be held out to judge it.")
    fast = directory / Q_FAST_ONNX
    quantise(directory / Q_ONNX, fast, to_network(crops[~left_out]))
    backend = OnnxBackend(directory, has_fast=True)
    golden, golden_cells = read_golden(directory)
    k = len(golden.cluster_probs[0])
    by_full, by_fast = (encode(crops[left_out], backend, k, precision) for precision in ("full", "fast"))
    measured = agreement(by_full, by_fast, tile_index[left_out], threshold)
    if failed := failures(measured):
        fast.unlink()
        raise NoFastNetwork("; ".join(failed) + ".")
    by_fast = encode(golden_cells, backend, k, "fast")
    expected = Expected(
        cluster_probs=by_fast.cluster_probs.tolist(),
        surprise=by_fast.surprise.tolist(),
        features=None if by_fast.features is None else by_fast.features.tolist(),
    )
    both = golden.model_copy(update={"fast": expected})
    write_whole(both.model_dump_json().encode(), directory / GOLDEN_EXPECTED)
    n_fitted = int((~left_out).sum())
    return FastNetwork(kind="int8", fitted_cells=n_fitted, agreement=measured, tolerance=GOLDEN_TOLERANCE)


def held_out(tile_index: Int64Array) -> BoolArray:
    """Return which cells are of held-out tiles, (N,) bool; none if all cells are of one tile."""
    return np.isin(tile_index, np.unique(tile_index)[1::HELD_OUT])


def agreement(full: Encoded, fast: Encoded, tile_index: Int64Array, threshold: float) -> FastAgreement:
    """Measure how far the fast Q agrees with the full one.

    Args:
        full: outputs of the full Q for N cells.
        fast: outputs of the fast Q for the same cells.
        tile_index: (N,) the tile of each cell.
        threshold: a cell with a higher surprise is an outlier.
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
        features=None
        if full.features is None or fast.features is None
        else float(r2_score(full.features, fast.features, multioutput="variance_weighted")),
    )


def failures(measured: FastAgreement) -> list[str]:
    """Return one sentence for each demand that the fast Q does not meet; an empty list if it may answer."""
    checks = {
        f"cells in the same cluster: {measured.clusters:.4f}, wanted ≥ {MIN_AGREEMENT}": measured.clusters
        >= MIN_AGREEMENT,
        f"largest change of a proportion: {measured.proportion_change:.4f}, wanted < {MAX_PROPORTION_CHANGE}": (
            measured.proportion_change < MAX_PROPORTION_CHANGE
        ),
        f"cells with the same outlier flag: {measured.outliers:.4f}, wanted ≥ {MIN_OUTLIER_AGREEMENT}": (
            measured.outliers >= MIN_OUTLIER_AGREEMENT
        ),
    }
    if measured.features is not None:
        demand = f"explained variance of the features: {measured.features:.4f}, wanted ≥ {MIN_FEATURES_EXPLAINED}"
        checks[demand] = measured.features >= MIN_FEATURES_EXPLAINED
    return [demand for demand, met in checks.items() if not met]


def _proportions(encoded: Encoded, outlier: BoolArray, chosen: BoolArray) -> Float64Array:
    """Return the proportions of the chosen cells, (K,); zeros if all are outliers."""
    values = summarise(encoded.cluster_probs[chosen], outlier[chosen]).values
    return np.zeros(encoded.cluster_probs.shape[1]) if values is None else values
